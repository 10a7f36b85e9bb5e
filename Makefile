# What can be done with this checkout; `make help` lists it. Needs Python 3.12 or 3.11, no ROS.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ROBOT_SIDE := $(addprefix fl_robot_ros/,\
	images labels bags playback capture dataset curation worker_link delivery robot ros nodes \
	api.py config.py data_source.py dependency.py errors.py name_list.py paths.py setting.py topic_name.py)

# Tests of what meets NumPy, OpenCV, rich and LiteRT most: `make test` runs them with old ones too.
MEET_OLD_VERSIONS := $(addprefix test/unit/,delivery dataset curation images \
	capture/test_privacy_mask.py test_commands.py \
	test_dataset_command.py test_dataset_import.py test_predict_command.py)

# Where ROS is sourced, its rclpy and its messages are used; elsewhere PyPI's wheels of them.
LOCKS := $(patsubst %,requirements/%.txt,robot $(if $(ROS_DISTRO),,ros) learning demo sources dev)

# An environment that was made at another place or for another ROS is made anew.
PURPOSE := $(file <$(VENV)/.purpose)
ifneq ($(PURPOSE),$(CURDIR)$(if $(ROS_DISTRO), with ROS $(ROS_DISTRO)))
$(READY): another-purpose
endif

.PHONY: help setup demo test test-quick test-oldest bench lint docs clean another-purpose

help: ## List the targets.
	@echo "make TARGET [ARGS='...'] [PYTHON=/path/to/python3.12]"
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' Makefile | expand -t 16

setup: $(READY) ## Install everything into .venv, if it is not there yet.
	@:

demo: setup ## Two robots learn together; ARGS go to fl_demo, as in ARGS='--scene shapes'.
	@$(BIN)/fl_demo $(ARGS)

test: setup lint ## Lint, types and all tests; ARGS go to pytest, as in ARGS='-k bag'.
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile test/unit
	@$(BIN)/python requirements/oldest.py $(MEET_OLD_VERSIONS)
	@$(BIN)/python -m pytest test/system test/integration test/launch
endif

test-oldest: setup ## All unit tests with the oldest versions that a robot may have; needs Python 3.10.
	@$(BIN)/python requirements/oldest.py $(ARGS)

bench: setup ## Speed of import and cost of capture, against what people do today.
	@$(BIN)/python -m pip install --quiet --no-deps --requirement requirements/bench.txt
	@$(BIN)/python bench/ingest.py
	@$(BIN)/python bench/capture.py

lint: setup ## Style and types, for Python 3.11 and for the robots' 3.10.
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy fl_robot_ros
	@$(BIN)/mypy --python-version 3.10 $(ROBOT_SIDE)

docs: setup ## Write docs/settings.md and config/*.yaml from fl_robot_ros/config.py.
	@$(BIN)/python docs/make_settings.py

clean: ## Remove caches and what was built; .venv stays.
	@rm -rf build install log *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

another-purpose:

$(READY): requirements/install requirements/pip.txt $(LOCKS) setup.py setup.cfg
	@PYTHON='$(PYTHON)' requirements/install $(VENV) $(LOCKS)
