PYTHON ?= python3
BIN := .venv/bin
OUT := out/demo

.PHONY: demo test clean

# An environment of its own, with every version pinned to what was tested.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: .venv/installed
	@mkdir -p out && rm -rf $(OUT) && mkdir $(OUT) && date +%s > $(OUT)/began
	$(BIN)/hatch-data build --scenes synthetic:10 --recipe demo --limit 960 --out $(OUT)/shards
	$(BIN)/hatch-data inspect $(OUT)/shards --out $(OUT)/previews
	$(BIN)/hatch-train run recipes/tiny.yaml --set data.shards=[$(OUT)/shards] --set output=$(OUT)/run
	@$(BIN)/python -m hatch_train.demo $(OUT) --since $$(cat $(OUT)/began)

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile -q

clean:
	rm -rf .venv out .pytest_cache .mypy_cache .ruff_cache .hypothesis
