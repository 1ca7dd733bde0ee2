# Everything starts here; needs Python 3.11 or newer, a C compiler and make.
#
#   make serve      build, install into .venv and start on 127.0.0.1:6379, data in ./respq-data
#   make test       the same set-up and the programs that tests run (needs Node.js and npm, ruby-redis,
#                   perl's Redis and prometheus-redis-exporter), then all tests
#   make install    only the set-up; ends with .venv/bin/respq
#   make lint types bench crash kill docs format clean
#
# Stamps in .venv remember what is done, so that a second call comes at once.

VENV     := .venv
PLAIN    := docs/examples/plain
PROGRAMS := tests/applications
BIN      := $(VENV)/bin
PACKAGES := lsmstore streams cluster respserver tools
DECLARED := $(shell find $(PACKAGES) -name '*.pxd')
COMPILED := $(DECLARED) $(DECLARED:.pxd=.py)
PIP      := $(BIN)/python -m pip --disable-pip-version-check --quiet install
# make builds the compiled modules itself (stamp-built), file by file
EDITABLE := RESPQ_SETUP=without-extensions $(PIP) --no-build-isolation --editable

JOBS  ?= 2
SEEDS ?= 50
ROUNDS ?= 100
ARGS  ?=

.PHONY: install serve test lint types bench crash kill docs format clean

install: $(VENV)/stamp-built

serve: install
	@exec $(BIN)/respq serve $(ARGS)

test: $(VENV)/stamp-dev $(VENV)/stamp-node $(VENV)/stamp-applications
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

lint: $(VENV)/stamp-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/stamp-dev
	$(BIN)/mypy

bench: install
	$(BIN)/respq bench $(ARGS)

# Crash tests on the simulated disk, from SEEDS seeds each.
crash: $(VENV)/stamp-dev
	CRASH_SEEDS=$(SEEDS) $(BIN)/python -m pytest -n $(JOBS) -k crash $(ARGS)

# A server killed ROUNDS times under load, on the real disk, with each appendfsync.
kill: $(VENV)/stamp-dev
	KILL_ROUNDS=$(ROUNDS) $(BIN)/python -m pytest -n $(JOBS) --timeout 0 -k nothing_acknowledged tests/wire $(ARGS)

# Pages made from the code; a test holds them against it.
docs: install
	$(BIN)/python -m tools.settings_page > docs/settings.md
	$(BIN)/python -m tools.commands_page > docs/commands.md
	$(BIN)/python -m tools.living.cheat > docs/cheatsheet.md
	$(BIN)/python -m tools.living.picture > docs/lag.svg

format: $(VENV)/stamp-dev
	$(BIN)/ruff format .

clean:
	rm -rf build dist *.egg-info $(DECLARED:.pxd=.c)
	find $(PACKAGES) -name '*.so' -delete
	rm -f $(VENV)/stamp-built

$(VENV)/stamp-venv:
	@sh .ci/need-tools
	@$$(sh .ci/need-tools python) -m venv $(VENV) || \
	    { echo "respq: 'python -m venv' failed; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PIP) 'setuptools>=77' 'Cython>=3.1'
	@touch $@

$(VENV)/stamp-installed: $(VENV)/stamp-venv pyproject.toml setup.py
	$(EDITABLE) .
	@touch $@

$(VENV)/stamp-built: $(VENV)/stamp-installed $(COMPILED)
	$(BIN)/python setup.py --quiet build_ext --inplace
	@# so that the first start is as quick as the others, even where Python may not write its cache
	@$(BIN)/python -m compileall -q $(PACKAGES)
	@touch $@

$(VENV)/stamp-dev: $(VENV)/stamp-built pyproject.toml
	$(EDITABLE) '.[dev]'
	@touch $@

# ioredis, for the examples that are tested with it
$(VENV)/stamp-node: $(PLAIN)/package.json $(PLAIN)/package-lock.json | $(VENV)/stamp-venv
	@sh .ci/need-tools node
	npm ci --silent --prefix $(PLAIN)
	@touch $@

# the programs that tests/applications runs, and redis-py's own tests, apart from our own packages
$(VENV)/stamp-applications: $(PROGRAMS)/python/requirements.txt $(PROGRAMS)/node/package.json \
    $(PROGRAMS)/node/package-lock.json | $(VENV)/stamp-venv
	@sh .ci/need-tools applications
	rm -rf $(VENV)/applications
	$(BIN)/python -m venv $(VENV)/applications
	$(VENV)/applications/bin/$(PIP:$(BIN)/%=%) --requirement $(PROGRAMS)/python/requirements.txt
	$(VENV)/applications/bin/python -m pip --disable-pip-version-check --quiet download --no-deps \
	    --no-binary redis --dest $(VENV)/applications $$(grep '^redis==' $(PROGRAMS)/python/requirements.txt)
	mkdir $(VENV)/applications/redis-py
	tar -xzf $(VENV)/applications/redis-*.tar.gz --strip-components 1 -C $(VENV)/applications/redis-py
	npm ci --silent --ignore-scripts --omit=optional --prefix $(PROGRAMS)/node
	@touch $@
