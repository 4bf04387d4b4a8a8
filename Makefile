# The front door: `make demo` and `make test` install what is missing, build, and run.
#
#   make build      the library, build/achar, and achar for .venv/bin/python
#   make demo       achar at work, in C and in Python
#   make test       lint, test-c, test-python; of what follows what is quick: CPython's own tests with this
#                   interpreter, two of the sanitizers, one other interpreter. Two things at a time.
#   make sanitize, make conformance, make test-versions: all of it
#   make bench      docs/benchmarks, measured anew on this machine
#   make fuzz       the fuzz targets, FUZZ_SECONDS=60 each
#   make stress     the long tests: hours
#   make lint       formatting, Python lint, include directions
#   make clean      removes builds; `make distclean` also .venv
#
# Another interpreter beside the first: make PYTHON=python3.13 VENV=.venv-3.13 BUILD=build-3.13

PYTHON ?= python3
VENV ?= .venv
BUILD ?= build
DEMO_FILES ?= 0
FUZZ_SECONDS ?= 60

venv := $(abspath $(VENV))
export PATH := $(venv)/bin:$(PATH)
unexport PYTHONPATH PYTHONHOME
# ccache, where it is: what it does not know it compiles at once, without preprocessing it first, and what one clone has
# compiled serves another (whose debugger is then told of the first one's folder).
export CCACHE_DEPEND := 1
export CCACHE_NOHASHDIR := 1
# Each process under ThreadSanitizer would sleep for a second before it exits, and the tests start hundreds.
export TSAN_OPTIONS ?= atexit_sleep_ms=50
MAKEFLAGS += --no-print-directory
# ThreadSanitizer of GCC 12 cannot live with the address layouts of newer kernels.
no_aslr = $(shell setarch -R true 2>/dev/null && echo setarch -R)
# Twice as many as processors: many of the tests wait for something, most of the time.
test_processes = $(shell n=$$((2 * $$(nproc))); echo $$((n < 8 ? n : 8)))
processors = $(shell n=$$(nproc); echo $$((n < 8 ? n : 8)))
c_files = $(shell find src include tests examples bench fuzz -name '*.[ch]' -o -name '*.cpp')

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: build demo test bench fuzz stress lint clean distclean system system-fuzz system-test
.PHONY: test-c sanitize sanitize-address sanitize-thread sanitize-hostile sanitize-memory conformance
.PHONY: conformance-here test-python test-python-computing test-python-waiting test-versions test-version
.PHONY: sanitize-address-codec sanitize-address-rest build-asan build-tsan
.PHONY: test-builds test-packages test-in-front test-beside

build: $(BUILD)/build.ninja
	@echo "== building"
	@ninja -C $(BUILD) --quiet
	@meson install -C $(BUILD) --no-rebuild --only-changed --quiet

demo: build $(VENV)/.has-demo
	@echo "== in C, no Python: examples/pickle_dict.c"
	@$(BUILD)/examples/pickle_dict $(BUILD)/planets.pickle
	@echo
	@echo "== in Python: pickle.loads of the same bytes"
	@python examples/show_pickle.py $(BUILD)/planets.pickle
	@echo
	@echo "== in Python: examples/index_sources.py"
	@python examples/index_sources.py --files $(DEMO_FILES)
	@echo
	@echo "== in Python: examples/resumed_run.py, killed half-way and started again"
	@python examples/resumed_run.py

# system-test first: the compiler cache that it installs serves every build. Then two things at a time: what compiles,
# and pip; what has many processes, most of which wait, and what only computes. What is built is not looked at again.
looked = -o system -o system-test
is_built = -o build -o build-asan -o build-tsan
test: system-test $(VENV)/.has-build
	@$(PYTHON) tools/side_by_side.py '$(MAKE) $(looked) test-builds' '$(MAKE) $(looked) test-packages'
	@$(PYTHON) tools/side_by_side.py '$(MAKE) $(looked) $(is_built) test-in-front' '$(MAKE) $(looked) $(is_built) test-beside'

test-builds: build build-asan build-tsan
	@python tests/conformance/matrix.py --newest

test-packages: $(VENV)/.has-lint $(VENV)/.has-test $(VENV)/.has-demo $(VENV)/.has-engines

test-in-front: test-c sanitize-thread sanitize-address-rest test-python-waiting

test-beside: lint conformance-here test-version test-python-computing sanitize-address-codec

test-c: build
	@echo "== C tests"
	@meson test -C $(BUILD) --num-processes $(test_processes) --no-rebuild --print-errorlogs

# Address and undefined behaviour on all C tests, on the codec's once more with everything tiny; data
# races on the runtime's; memory that was never set on the others', where Clang's undefined behaviour
# is looked for, too. Clang warns as an error.
sanitize: sanitize-address sanitize-thread sanitize-hostile sanitize-memory

sanitize-address: build-asan
	@echo "== C tests under AddressSanitizer and UndefinedBehaviorSanitizer"
	@meson test -C build-asan --num-processes $(test_processes) --no-rebuild --print-errorlogs

# The same in two.
sanitize-address-codec: build-asan
	@echo "== the codec's C tests under AddressSanitizer and UndefinedBehaviorSanitizer"
	@meson test -C build-asan --logbase codec --no-rebuild --suite codec --print-errorlogs

sanitize-address-rest: build-asan
	@echo "== the other C tests under AddressSanitizer and UndefinedBehaviorSanitizer"
	@meson test -C build-asan --num-processes $(test_processes) --no-rebuild --no-suite codec --print-errorlogs

sanitize-thread: build-tsan
	@echo "== runtime tests under ThreadSanitizer"
	@$(no_aslr) meson test -C build-tsan --num-processes $(test_processes) --no-rebuild --suite runtime --print-errorlogs

sanitize-hostile: build-hostile/build.ninja
	@echo "== codec tests with tiny chunks, buffers and stacks"
	@meson test --quiet -C build-hostile --no-suite runtime --no-suite sync --no-suite long --print-errorlogs

sanitize-memory: build-msan/build.ninja
	@echo "== C tests, but for those of several processes, under Clang's MemorySanitizer and UndefinedBehaviorSanitizer"
	@meson test --quiet -C build-msan --no-suite runtime --no-suite sync --print-errorlogs

# CPython's own pickle tests, on every CPython of the machine; with this one; cloudpickle's as well.
conformance: suites =
conformance-here: suites = --here
conformance conformance-here: build $(VENV)/.has-test
	@echo "== CPython's own tests"
	@python tests/conformance/run.py $(suites)
	@echo "== cloudpickle's own tests"
	@python tests/conformance/cloudpickle_suite.py $(suites)

test-python: build $(VENV)/.has-demo $(VENV)/.has-test $(VENV)/.has-engines $(VENV)/.has-lint | system-test
	@echo "== Python tests"
	@python -m pytest -n $(test_processes)

# The same in two: these folders, a process for each processor; all others.
computing = $(foreach part,bench byvalue codec compat fuzz loader model package saver versions,tests/$(part)/)
waiting = $(filter-out $(computing),$(wildcard tests/*/))
test-python-computing: build $(VENV)/.has-test $(VENV)/.has-lint | system-test
	@echo "== Python tests that compute"
	@python -m pytest -n $(processors) $(addprefix --ignore=,$(waiting))

test-python-waiting: build $(VENV)/.has-demo $(VENV)/.has-test $(VENV)/.has-engines | system-test
	@echo "== Python tests of processes and threads"
	@python -m pytest -n $(test_processes) $(addprefix --ignore=,$(computing))

# What lies closest to the interpreter, on every other CPython 3.X of the machine; most of it, on the newest of them.
test-versions: versions = --others --pytest tests/saver tests/loader tests/byvalue tests/fuzz tests/sync/test_threads.py \
  tests/sync/test_aio.py
test-version: versions = --newest --pytest tests/saver tests/loader tests/byvalue
test-versions test-version: build
	@echo "== Python tests on other interpreters"
	@python tests/conformance/matrix.py $(versions)

bench: build
	@python bench/run

fuzz: system-fuzz $(BUILD)-fuzz/build.ninja
	@echo "== building the fuzz targets"
	@ninja -C $(BUILD)-fuzz --quiet
	@python fuzz/run --build $(BUILD)-fuzz --seconds $(FUZZ_SECONDS)

# What `make test` has no time for: every sanitizer, every interpreter, all bytes of all golden pickles, every allocation of large ones,
# storms again and again, twenty times the examples, ten minutes for each fuzz target.
stress: build-asan build-hostile/build.ninja build-hostile-python/build.ninja build $(VENV)/.has-test | system-test
	@$(MAKE) sanitize conformance test-versions
	@ninja -C build-hostile --quiet
	@echo "== codec tests, all they can"
	@ACHAR_STRESS=1 meson test -C build-asan --no-rebuild --suite codec --timeout-multiplier 40 --print-errorlogs
	@ACHAR_STRESS=1 meson test -C build-hostile --no-rebuild --suite codec --timeout-multiplier 40 --print-errorlogs
	@echo "== runtime tests, ten times"
	@meson test -C build-asan --no-rebuild --suite runtime --suite sync --repeat 10 --print-errorlogs
	@echo "== processes with locks, conditions and queues, killed at random for a minute"
	@ACHAR_STORM_S=60 meson test -C build-asan --no-rebuild 'sync storm' --print-errorlogs
	@echo "== multiprocessing's own tests of locks; the model of conditions, with a death"
	@ACHAR_SLOW_TESTS=1 python -m pytest tests/sync tests/model
	@echo "== 100,000 tasks with a memo, stopped three times"
	@rm -rf build-memo-run && mkdir build-memo-run && python tests/memo/stopped_run.py build-memo-run 100000
	@echo "== a storm: 100,000 tasks, a worker killed every 50 ms"
	@python tests/executor/storm.py
	@echo "== Python tests with examples"
	@ACHAR_STRESS=1 PYTHONPATH=tests python -m pytest -p stress_plugin -n auto --maxprocesses 8 --timeout 7200 \
	  tests/codec tests/fuzz tests/loader tests/package tests/saver tests/versions
	@echo "== saver and loader with stacks, memos and buffers so tiny that every edge is met"
	@ninja -C build-hostile-python --quiet
	@meson install -C build-hostile-python --no-rebuild --only-changed --quiet
	@PYTHONPATH=$$(echo $(CURDIR)/build-hostile-python/prefix/lib/python3*/*-packages) \
	  python -m pytest -n $(test_processes) tests/loader tests/saver
	@$(MAKE) fuzz FUZZ_SECONDS=600

lint: $(VENV)/.has-lint
	@echo "== clang-format"
	@clang-format --dry-run --Werror $(c_files) && echo "$(words $(c_files)) files, none to reformat"
	@echo "== ruff"
	@ruff check --quiet . && echo "no findings"
	@echo "== include directions"
	@python tools/check_layers.py
	@echo "== comments of the C interface, and docs/reference"
	@python tools/make_reference.py --check

clean:
	rm -rf build build-* dist

distclean: clean
	rm -rf .venv .venv-*

# --- what is missing is installed: Debian packages, then Python packages into $(VENV)

system:
	@tools/install_system_packages.sh $(PYTHON)

system-fuzz:
	@tools/install_system_packages.sh $(PYTHON) fuzz

system-test:
	@tools/install_system_packages.sh $(PYTHON) test

$(VENV)/.made: | system
	@echo "== making $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.has-%: tools/requirements-%.txt $(VENV)/.made
	@echo "== installing into $(VENV): $<"
	@python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# --- build directories

comma := ,
c_tests = -Dpython=disabled -Dtests=enabled -Dtest_points=true -Ddefault_library=static
quietly = output=$$($(1) 2>&1) || { echo "$$output"; exit 1; }

$(BUILD)/build.ninja: $(VENV)/.has-build
	@echo "== configuring $(BUILD)"
	@$(call quietly,meson setup --reconfigure $(BUILD) --prefix=$(venv) \
	  -Dpython_exe=$(venv)/bin/python -Dpython.install_env=venv)
	@touch $@

build-asan/build.ninja: $(VENV)/.has-build
	@echo "== configuring build-asan"
	@$(call quietly,meson setup --reconfigure build-asan $(c_tests) \
	  -Dbuildtype=debug -Db_sanitize=address$(comma)undefined -Dc_args=-fno-sanitize-recover=all)
	@touch $@

build-asan: build-asan/build.ninja
	@echo "== building with AddressSanitizer and UndefinedBehaviorSanitizer"
	@ninja -C build-asan --quiet

build-hostile/build.ninja: $(VENV)/.has-build
	@echo "== configuring build-hostile"
	@$(call quietly,meson setup --reconfigure build-hostile $(c_tests) -Dhostile=true \
	  -Dbuildtype=debug -Db_sanitize=address$(comma)undefined \
	  -Dc_args=-fno-sanitize-recover=all)
	@touch $@

build-hostile-python/build.ninja: $(VENV)/.has-build
	@echo "== configuring build-hostile-python"
	@$(call quietly,meson setup --reconfigure build-hostile-python -Dhostile=true \
	  -Dpython_exe=$(venv)/bin/python --prefix=$(CURDIR)/build-hostile-python/prefix)
	@touch $@

$(BUILD)-fuzz/build.ninja: $(VENV)/.has-build
	@echo "== configuring $(BUILD)-fuzz"
	@$(call quietly,CC=clang meson setup --reconfigure $(BUILD)-fuzz -Dpython_exe=$(venv)/bin/python -Dtests=disabled \
	  -Dfuzz=true -Dbuildtype=debugoptimized -Db_sanitize=address$(comma)undefined -Db_lundef=false \
	  -Dc_args=-fno-sanitize-recover=all)
	@touch $@

build-tsan/build.ninja: $(VENV)/.has-build
	@echo "== configuring build-tsan"
	@$(call quietly,meson setup --reconfigure build-tsan $(c_tests) \
	  -Dbuildtype=debug -Db_sanitize=thread)
	@touch $@

build-tsan: build-tsan/build.ninja
	@echo "== building with ThreadSanitizer"
	@ninja -C build-tsan --quiet

build-msan/build.ninja: $(VENV)/.has-build | system-test
	@echo "== configuring build-msan"
	@$(call quietly,CC=clang meson setup --reconfigure build-msan $(c_tests) \
	  -Dbuildtype=debugoptimized -Db_sanitize=memory$(comma)undefined -Dwerror=true \
	  -Dc_args=-fno-sanitize-recover=all)
	@touch $@
