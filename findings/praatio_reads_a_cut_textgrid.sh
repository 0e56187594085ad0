#!/usr/bin/env bash
# praatio 6.2.2: a TextGrid that was cut short is read as a shorter one, without an error.
#
# The file says "intervals: size = 3". Cut before the times of its third interval, as a broken copy leaves it, it is read with two
# intervals and reportingMode="error" says nothing: the last words of a story are gone, and a word rate or a list of
# onsets ends early.
#
# Seen with praatio 6.2.2:
#   whole: ['once', 'upon', 'a']; cut: ['once', 'upon']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet praatio==6.2.2
cd "$folder"
"$folder/venv/bin/python" <<'PY'
from pathlib import Path

from praatio import textgrid

text = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0 \nxmax = 3 \ntiers? <exists> \nsize = 1 \nitem []: \n'
    '    item [1]:\n        class = "IntervalTier" \n        name = "words" \n        xmin = 0 \n        xmax = 3 \n'
    "        intervals: size = 3 \n"
)
for k, word in enumerate(("once", "upon", "a"), 1):
    text += f"        intervals [{k}]:\n            xmin = {k - 1} \n            xmax = {k} \n"
    text += f'            text = "{word}" \n'


def words(content):
    Path("a.TextGrid").write_text(content)
    grid = textgrid.openTextgrid("a.TextGrid", includeEmptyIntervals=True, reportingMode="error")
    return [entry.label for entry in grid.getTier("words").entries]


whole, cut = words(text), words(text[: text.index("intervals [3]") + 10])
print(f"whole: {whole}; cut: {cut}")
assert whole == ["once", "upon", "a"]
assert cut == ["once", "upon"], "praatio has changed"
PY
