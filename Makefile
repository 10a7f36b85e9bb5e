# The tasks of this checkout; `make help` lists them. Needs Python 3.12 or 3.11, no ROS.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ROBOT_SIDE := $(addprefix fl_robot_ros/,\
	images labels bags playback capture dataset curation identity worker_link delivery perception robot \
	autonomy doctor ros nodes \
	api.py atomic_file.py config.py data_source.py dependency.py errors.py name_list.py one_line.py \
	paths.py process_lock.py publication.py setting.py topic_name.py)

# Tests that depend most on NumPy, OpenCV, rich and LiteRT: `make test` runs them with old versions too.
WITH_OLD_VERSIONS := $(addprefix test/unit/,delivery perception dataset curation images nodes \
	capture/test_privacy_mask.py test_commands.py \
	test_dataset_command.py test_dataset_import.py test_model_command.py test_predict_command.py)

# Tests that depend most on Flower: `make test` runs them with its oldest version too.
# The longest first.
WITH_OLD_FLOWER := $(addprefix test/,system/test_light_fleet.py system/test_superlink.py \
	unit/worker unit/federation)

# Tests of nodes that wait for processes: they run beside those of test/system. The others wait for
# DDS, one at a time.
WHOLE_RUNS := $(addprefix test/integration/,test_demo.py test_first_robot.py test_lifetime.py \
	test_client_node.py::test_a_run_from_bag_to_model_path_with_a_pause_and_a_worker_killed_on_the_way)

LOAD_TENSORFLOW := $(addprefix test/unit/,learning cloud federation worker)

# Where ROS is sourced, its rclpy and messages are used; elsewhere those of PyPI.
LOCKS := $(patsubst %,requirements/%.txt,robot $(if $(ROS_DISTRO),,ros) learning demo sources dev)

# A .venv of another folder or for another ROS is made anew.
PURPOSE := $(file <$(VENV)/.purpose)
ifneq ($(PURPOSE),$(CURDIR)$(if $(ROS_DISTRO), with ROS $(ROS_DISTRO)))
$(READY): another-purpose
endif

.PHONY: help setup demo test test-quick test-oldest bench lint docs clean another-purpose

help: ## List the targets.
	@echo "make TARGET [ARGS='...'] [PYTHON=/path/to/python3.12]"
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' Makefile | expand -t 16

setup: $(READY) ## Install everything into .venv where it is missing.
	@:

demo: setup ## Two robots learn together; ARGS='--scene shapes' for fl_demo.
	@$(BIN)/fl_demo $(ARGS)

test: setup lint ## Lint, types and all tests; ARGS='-k bag' for pytest.
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile test/unit
	@$(BIN)/python requirements/oldest.py $(WITH_OLD_VERSIONS)
	@$(BIN)/python requirements/oldest_flower.py $(WITH_OLD_FLOWER)
	@$(BIN)/python -m pytest --numprocesses 2 --maxschedchunk 1 $(WHOLE_RUNS) test/system
	@$(BIN)/python -m pytest $(addprefix --deselect=,$(WHOLE_RUNS)) test/integration test/launch
endif

test-quick: setup ## Unit tests without TensorFlow, in under two minutes.
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile test/unit \
		$(addprefix --ignore=,$(LOAD_TENSORFLOW)) $(ARGS)

test-oldest: setup ## Unit tests with a robot's oldest packages, on Python 3.10.
	@$(BIN)/python requirements/oldest.py $(ARGS)

bench: setup ## Cost of import, capture, perception, rounds, against today's ways.
	@$(BIN)/python -m pip install --quiet --no-deps --requirement requirements/bench.txt
	@$(BIN)/python bench/ingest.py
	@$(BIN)/python bench/capture.py
	@$(BIN)/python bench/perception.py
	@$(BIN)/python bench/round.py
	@$(BIN)/python bench/fleet.py

lint: setup ## Style and types, for Python 3.11 and the robots' 3.10.
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy --python-version 3.10 $(ROBOT_SIDE) & $(BIN)/mypy fl_robot_ros && wait $$!

docs: setup ## Write docs/settings.md and config/*.yaml from config.py.
	@$(BIN)/python docs/make_settings.py

clean: ## Remove caches and build output; .venv stays.
	@rm -rf build install log *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

another-purpose:

$(READY): requirements/install requirements/pip.txt $(LOCKS) setup.py setup.cfg
	@PYTHON='$(PYTHON)' requirements/install $(VENV) $(LOCKS)
