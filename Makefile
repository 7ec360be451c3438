.PHONY: check format lint types layers test covered bench constraints

check: lint types layers test

format:
	ruff format .
	ruff check --fix .

lint:
	ruff format --check .
	ruff check .

types:
	mypy

layers:
	lint-imports

test:
	coverage erase
	coverage run -m pytest
	$(MAKE) covered

covered:
	coverage combine -q
	coverage report

bench:
	python tests/benchmarks/run.py

constraints:
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --no-emit-index-url --no-header -o constraints.txt
