# coco-pipelines. `make help` lists the targets.
#
# build/bin        programs          build/obj     objects
# build/asan/...   the same with AddressSanitizer and UBSan; build/tsan/... with ThreadSanitizer
# Long builds for tests (a Kubernetes API server) are cached outside the tree: $COCO_CACHE, ~/.cache/coco-pipelines.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build
MAKEFLAGS += --no-builtin-rules

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif

# `make V=1` shows whole commands.
V ?=
Q := $(if $(V),,@)
say = $(if $(V),@:,@printf '  %-6s %s\n')

# A variant is a folder below build/ with flags of its own.
VARIANT ?=
OUT := build$(if $(VARIANT),/$(VARIANT))
BIN := $(OUT)/bin
OBJ := $(OUT)/obj
GEN := build/gen

WARN := -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wformat=2 -Wstrict-prototypes \
	-Wmissing-prototypes -Wold-style-definition -Wundef -Wcast-qual -Wwrite-strings -Wpointer-arith \
	-Wnull-dereference -Wimplicit-fallthrough -Wvla -Walloca -Wdate-time
ifneq ($(shell $(CC) --version 2>/dev/null | grep -c 'Free Software Foundation'),0)
WARN += -Wduplicated-cond -Wduplicated-branches -Wlogical-op
endif
# Packagers build with compilers that warn of other things: `make WERROR=`.
WERROR ?= -Werror
# For another processor: make VARIANT=arm64 CC=aarch64-linux-gnu-gcc, with libraries of that architecture.
ARCH := $(if $(filter arm64,$(VARIANT)),aarch64,$(shell uname -m))
HARDEN_x86_64 := -fcf-protection=full
HARDEN_aarch64 := -mbranch-protection=standard
HARDEN := -O2 -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection \
	-ftrivial-auto-var-init=zero $(HARDEN_$(ARCH))
MODE_ := $(HARDEN)
MODE_arm64 := $(HARDEN)
# What sanitizers watch must not be hidden by FORTIFY, nor by variables set to zero.
MODE_asan := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
MODE_tsan := -O1 -fsanitize=thread -fno-omit-frame-pointer
# Counters are shared by threads.
MODE_coverage := -O0 --coverage -fprofile-update=atomic
MODE := $(MODE_$(VARIANT))

CPPFLAGS += -D_GNU_SOURCE -I. -I$(GEN) -include common/banned.h
CFLAGS += -std=gnu17 -g $(MODE) -fno-common -fPIE $(WARN) $(WERROR)
LDFLAGS += $(filter -fsanitize% --coverage,$(MODE)) -pie \
	-Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code,--as-needed
# Programs and tests take of these what they use (--as-needed).
LDLIBS := -lmicrohttpd -lgnutls -lyaml -ljansson -lz -lcurl -lwebsockets -lssl -lcrypto -lm -lpthread

COMMON := $(wildcard common/*.c common/kube/*.c)
WEBHOOK := $(filter-out webhook/main.c,$(wildcard webhook/*.c))
CONTROLLER := $(filter-out controller/main.c,$(wildcard controller/*.c))
CLI := $(wildcard cli/*.c)
LIB_OBJ := $(patsubst %.c,$(OBJ)/%.o,$(COMMON) $(WEBHOOK) $(CONTROLLER))
LIB := $(OUT)/libcoco.a
# Objects that are only a step on the way to a program stay, so that the next make finds them.
.SECONDARY:
AGENT_POLICY_INC := $(patsubst common/policies/%.rego,$(GEN)/gen/%.inc,$(wildcard common/policies/*.rego))
TRUSTEE_POLICY_INC := $(patsubst controller/policies/%.rego,$(GEN)/gen/%.inc,$(wildcard controller/policies/*.rego))

UNIT := $(patsubst tests/unit/%.c,$(OUT)/tests/unit/%,$(wildcard tests/unit/test_*.c))
FUZZ := $(patsubst tests/fuzz/%.c,$(OUT)/tests/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
TOOLS := $(OUT)/tests/convert $(OUT)/tests/echo_server $(OUT)/tests/kube_call $(OUT)/tests/watch_probe \
	$(OUT)/tests/informer_probe $(OUT)/tests/policy_text $(OUT)/tests/lease_probe
SOURCES := $(wildcard common/*.[ch] common/kube/*.[ch] webhook/*.[ch] controller/*.[ch] cli/*.[ch] tests/*/*.[ch])

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: build
build: $(BIN)/coco-webhook $(BIN)/coco-controller $(BIN)/cocopipe ## build the programs into build/bin

# Installs what is missing before anything is compiled; does nothing, quickly, where all is there.
.PHONY: deps
deps: ## install what building needs (Debian packages)
	@hack/deps.sh build

$(BIN)/coco-webhook: $(OBJ)/webhook/main.o $(LIB)
$(BIN)/coco-controller: $(OBJ)/controller/main.o $(LIB)
$(BIN)/cocopipe: $(patsubst %.c,$(OBJ)/%.o,$(CLI)) $(LIB)
$(BIN)/coco-webhook $(BIN)/coco-controller $(BIN)/cocopipe:
	@mkdir -p $(@D)
	$(say) LINK $@
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(LIB): $(LIB_OBJ)
	@rm -f $@
	$(say) AR $@
	$(Q)ar rcs $@ $^

$(OBJ)/%.o: %.c | deps
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# Policies travel in the programs.
$(OBJ)/common/agent_policy.o: $(AGENT_POLICY_INC)
$(OBJ)/controller/trustee_policy.o: $(TRUSTEE_POLICY_INC)
define embed =
	@mkdir -p $(@D)
	$(say) XXD $@
	$(Q)xxd -i < $< > $@
endef
$(GEN)/gen/%.inc: common/policies/%.rego | deps
	$(embed)
# Indented with spaces: of a text with tabs, YAML makes one long line in quotes, and people read these in ConfigMaps.
$(GEN)/gen/%.inc: controller/policies/%.rego Makefile | deps
	@mkdir -p $(@D)
	$(say) XXD $@
	$(Q)expand --initial --tabs=2 $< | xxd -i > $@

# Of cli/, which is no part of the library, a test names what it needs.
$(OUT)/tests/unit/test_doctor: $(OBJ)/cli/doctor.o $(OBJ)/cli/doctor_policies.o $(OBJ)/cli/doctor_report.o
$(OUT)/tests/unit/test_after_apply: $(OBJ)/cli/after_apply.o $(OBJ)/cli/line_diff.o
$(OUT)/tests/unit/%: $(OBJ)/tests/unit/%.o $(LIB)
	@mkdir -p $(@D)
	$(say) LINK $@
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIB) $(LDLIBS) -lcmocka
$(OUT)/tests/fuzz/%: $(OBJ)/tests/fuzz/%.o $(OBJ)/tests/fuzz/replay.o $(LIB)
	@mkdir -p $(@D)
	$(say) LINK $@
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(OUT)/tests/convert: $(OBJ)/tests/oracle/convert.o $(LIB)
$(OUT)/tests/echo_server: $(OBJ)/tests/http/echo_server.o $(LIB)
$(OUT)/tests/policy_text: $(OBJ)/tests/policy/policy_text.o $(LIB)
$(OUT)/tests/kube_call: $(OBJ)/tests/kube/kube_call.o $(LIB)
$(OUT)/tests/informer_probe: $(OBJ)/tests/kube/informer_probe.o $(LIB)
$(OUT)/tests/lease_probe: $(OBJ)/tests/kube/lease_probe.o $(LIB)
$(OUT)/tests/watch_probe: $(OBJ)/tests/kube/watch_probe.o $(LIB)
$(TOOLS):
	@mkdir -p $(@D)
	$(say) LINK $@
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

.PHONY: test-programs
test-programs: $(UNIT) $(FUZZ) $(TOOLS) $(BIN)/coco-webhook $(BIN)/coco-controller $(BIN)/cocopipe

.PHONY: test
test: ## all tests, with sanitizers and a real API server (installs and builds what they need)
	@hack/run-tests.sh

.PHONY: test-quick
test-quick: ## the tests that need no API server
	@hack/run-tests.sh --quick

.PHONY: check
check: ## includes, format, clang-tidy, cppcheck, shellcheck, spelling
	@hack/deps.sh build check
	@hack/check.sh

.PHONY: manifests
manifests: ## write what manifests/ generates: install.yaml and more
	@"$$(hack/pyenv.sh)" hack/manifests.py

.PHONY: images
images: ## an OCI image of each program, and its bill of materials, in build/images; see docs/images.md
	@hack/images.sh

.PHONY: docs
docs: build ## write docs/reference/, from the CRDs and the programs' help
	@"$$(hack/pyenv.sh)" hack/docs.py

.PHONY: format
format: ## format the C sources in place
	@hack/deps.sh check
	clang-format -i $(SOURCES)

.PHONY: asan
asan: ## build everything with AddressSanitizer and UBSan into build/asan
	@$(MAKE) --no-print-directory VARIANT=asan test-programs

.PHONY: tsan
tsan: ## build everything with ThreadSanitizer into build/tsan
	@$(MAKE) --no-print-directory VARIANT=tsan test-programs

.PHONY: coverage
coverage: ## line coverage of the unit tests and corpus properties, as text
	@hack/deps.sh build test check
	@hack/coverage.sh

.PHONY: bench
bench: ## measure the webhook, what follows a cluster, and Trustees coming up; see docs/performance.md
	@hack/deps.sh build test
	@$(MAKE) --no-print-directory build $(BENCH)
	@tests/bench/bench.py
	@hack/kube-build.sh kube-apiserver kube-controller-manager >/dev/null
	@tests/bench/bench_live.py
	@tests/bench/bench_trustee.py

# The readers that ours is compared with, where they are installed.
BENCH := $(patsubst %,$(OUT)/tests/%,bench_server bench_load bench_handle json_readers)
BENCH_LIBS := $(if $(wildcard /usr/include/yajl/yajl_parse.h),-lyajl) $(if $(wildcard /usr/include/cjson/cJSON.h),-lcjson)
$(BENCH): $(OUT)/tests/%: $(OBJ)/tests/bench/%.o $(LIB)
	@mkdir -p $(@D)
	$(say) LINK $@
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) $(BENCH_LIBS)

.PHONY: fuzz
fuzz: ## run each fuzz target for a minute (FUZZ_SECONDS=60), with clang
	@hack/deps.sh build check
	@hack/fuzz.sh

.PHONY: demo
demo: ## the main job in two minutes: a pod before and after, offline and through the live webhook
	@hack/deps.sh build demo
	@$(MAKE) --no-print-directory build
	@hack/demo.sh

.PHONY: clean
clean: ## remove build/
	rm -rf build

-include $(shell find build -name '*.d' 2>/dev/null)
