# Each target does its own set-up: it needs Python 3.11 or newer (with venv) and make, and nothing else.

VENV ?= .venv
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PY := $(VENV)/bin/python
RUN := $(VENV)/.requirements
DEV := $(VENV)/.requirements-dev
PIP := $(PY) -m pip install --quiet --disable-pip-version-check

# Keys and hosts that `check` judges the production settings with; none of them is used anywhere else.
DEPLOY := SECRET_KEY=only-to-check-the-settings-with-7hK2pQ9xW4vT8nB3mZ6sD1fG5jL0 ALLOWED_HOSTS=oxy.example DATABASE_URL= \
	OXY_ENCRYPTION_KEYS=b25seS10by1jaGVjay10aGUtc2V0dGluZ3Mtd2l0aCE= BEHIND_HTTPS=1 DEBUG=0

.PHONY: help run demo docs test check messages tour
.DEFAULT_GOAL := help

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST)

run: $(RUN) ## the console, on real WhatsApp
	@$(PY) -m oxy.local_env
	@exec $(PY) manage.py run

demo: $(RUN) ## the console with a simulated WhatsApp and a simulated phone
	@$(PY) -m oxy.local_env
	@exec $(PY) manage.py demo

docs: $(DEV) ## the documents as a site, in var/site; fails where a link is broken
	$(PY) -m mkdocs build --strict --config-file docs/site/mkdocs.yml

test: $(DEV) ## every test; integration and acceptance on SQLite and on PostgreSQL; a short chaos run
	$(PY) -m tests.browser
	$(PY) -m tests.baileys.install
	$(PY) -m pytest --ignore=tests/acceptance
	$(PY) -m pytest tests/acceptance
	$(PY) -m tests.postgres $(PY) -m pytest tests/integration
	$(PY) -m tests.postgres $(PY) -m pytest tests/acceptance
	$(PY) -m benchmarks.chaos --short

messages: $(DEV) ## take new texts into locale/, keep the translations, compile; lists what is to be translated
	$(PY) -m tests.messages

check: $(DEV) docs ## format, lint, types, settings, migrations and documents; then every test
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(DEPLOY) $(PY) -m mypy
	$(DEPLOY) $(PY) manage.py check --deploy --fail-level WARNING
	$(DEPLOY) $(PY) manage.py makemigrations --check --dry-run sessions_app
	$(MAKE) test

tour: $(DEV) ## the pictures of docs/tour.md, anew
	$(PY) -m tests.browser
	OXY_TOUR=1 $(PY) -m pytest tests/acceptance/test_tour.py -p no:randomly

$(RUN): requirements.txt
	@test -n "$(PYTHON)" || { echo "Oxy needs Python 3.11 or newer, and found none."; exit 1; }
	@test -x $(PY) && $(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
		{ echo "Oxy needs Python's venv module. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Installing what Oxy runs on (once) ..."
	@$(PIP) -r requirements.txt
	@touch $@

$(DEV): requirements-dev.txt $(RUN)
	@echo "Installing what the tests need (once) ..."
	@$(PIP) -r requirements-dev.txt
	@touch $@
