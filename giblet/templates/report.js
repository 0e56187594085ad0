
"use strict";
// Sounds of the same seconds, heard in turns at one playhead. Without this script each has the browser's own controls.
function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const hours = Math.floor(tenths / 36000), minutes = Math.floor(tenths / 600) % 60, rest = (tenths % 600) / 10;
  return (hours ? hours + ":" + String(minutes).padStart(2, "0") : String(minutes)) + ":" + rest.toFixed(1).padStart(4, "0");
}
const boxes = [];
for (const box of document.querySelectorAll("[data-listen]")) {
  const sounds = [...box.querySelectorAll("audio")];
  if (!sounds.length) continue;
  const tracks = [...box.querySelectorAll(".track")], radios = [...box.querySelectorAll("input[type=radio]")];
  const heads = [...box.querySelectorAll(".head")], seconds = Number(box.dataset.seconds);
  const transport = box.querySelector(".transport"), [button, bar, shown] = transport.children;
  let now = Math.max(0, radios.findIndex((radio) => radio.checked)), playing = false, at = 0;
  sounds.forEach((sound) => { sound.controls = false; });
  transport.hidden = false;
  box.classList.add("live");
  function show() {
    bar.value = at;
    bar.setAttribute("aria-valuetext", clock(at));
    shown.value = clock(at);
    heads.forEach((head) => { head.style.left = 100 * at / seconds + "%"; });
    tracks.forEach((track, k) => track.classList.toggle("heard", k === now));
    button.textContent = playing ? "Pause" : "Play";
  }
  function follow() {
    if (!playing) return;
    at = sounds[now].currentTime;
    show();
    requestAnimationFrame(follow);
  }
  function stop() {
    if (playing) at = sounds[now].currentTime;
    playing = false;
    sounds.forEach((sound) => sound.pause());
    show();
  }
  function start() {
    boxes.forEach((other) => other());
    if (at >= sounds[now].duration - 0.05) at = 0;
    sounds[now].currentTime = at;
    sounds[now].play().then(() => { playing = true; follow(); show(); }, stop);
  }
  function seek(to) {
    at = Math.min(Math.max(0, to), seconds);
    sounds[now].currentTime = at;
    show();
  }
  button.addEventListener("click", () => (playing ? stop() : start()));
  bar.addEventListener("input", () => seek(Number(bar.value)));
  radios.forEach((radio, k) => radio.addEventListener("change", () => {
    const before = playing;
    stop();
    now = k;
    if (before) start(); else seek(at);
  }));
  sounds.forEach((sound, k) => sound.addEventListener("ended", () => { if (k === now) stop(); }));
  box.querySelectorAll(".strip").forEach((strip) => strip.addEventListener("click", (event) => {
    const place = strip.getBoundingClientRect();
    seek(seconds * (event.clientX - place.left) / place.width);
  }));
  boxes.push(stop);
  show();
}
