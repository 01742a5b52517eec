# Both commands do everything from nothing: a virtual environment, the install, then the work.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test test-machines check-style docs gpu scoreboard clean

run: $(VENV)/installed-all
	$(BIN)/rnnparity run

test: $(VENV)/installed-dev
	$(BIN)/pytest -n auto

test-machines: $(VENV)/installed-dev
	$(BIN)/python tests/machines.py --out build/machines.md

check-style: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/installed-docs
	$(BIN)/mkdocs build --strict

# On a machine with an NVIDIA card: checks and timings, into results/<card>/.
gpu: $(VENV)/installed-cuda
	$(BIN)/python results/on_card.py

# What other people's layers can do; their libraries do not all live in one environment.
PEERS := build/peers/graphs build/peers/tensorflow build/peers/paddle
build/peers/graphs: EXTRAS := cli,torch,openvino,tract,keras-openvino,mlx,tinygrad,equinox,haiku
build/peers/tensorflow: EXTRAS := cli,keras-tensorflow
build/peers/paddle: EXTRAS := cli,paddle

scoreboard: $(VENV)/installed-dev $(PEERS)
	$(BIN)/rnnparity scoreboard --pythons results/scoreboard.pythons --out docs/scoreboard

# A library that is not to be had here is a row that says so.
$(PEERS):
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install -q -c constraints.txt -e '.[$(EXTRAS)]'

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed-%: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[$*]'
	@touch $@

clean:
	rm -rf $(VENV) build dist
