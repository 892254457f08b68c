# make sweep   installs Podium and runs the main job: a sweep over networks for handwritten digits
# make test    installs what the tests need and runs them
# make check   lint, types, import contracts; audit and sbom
# make audit   known vulnerabilities of the packages in constraints.txt, if the network lets it ask
# make sbom    build/sbom.json, a software bill of materials (CycloneDX)
# make clean   removes what these made, except results

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
AUDIT := .venv/audit

.PHONY: sweep test check audit sbom clean

sweep: $(STAMP)
	$(BIN)/podium launch experiments/digits/sweep.yaml

test: $(STAMP)
	tests/services.sh
	tests/run.sh

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory audit sbom

audit: $(AUDIT)/.installed
	$(AUDIT)/bin/python tests/audit.py

sbom: $(AUDIT)/.installed
	mkdir -p build
	$(AUDIT)/bin/python -W ignore -m cyclonedx_py requirements constraints.txt --pyproject pyproject.toml \
		--output-reproducible --output-file build/sbom.json

$(STAMP): pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[experiments,dev]'
	touch $@

$(AUDIT)/.installed: $(STAMP)
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/pip install --quiet --constraint constraints.txt pip-audit cyclonedx-bom
	touch $@

clean:
	rm -rf .venv build dist .coverage* htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find platform tests experiments -name __pycache__ -type d -prune -exec rm -rf {} +
