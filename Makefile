# SPDX-License-Identifier: Apache-2.0
# charmvm: one Makefile, no generator. The lists below are the table of contents.
#
#   make            the release binary, at build/charmvm
#   make run        the main job: build, demo image, a machine, a snapshot, an accident, a revert
#   make test       everything; the last line is "N passed, N failed"
#   make test-slow  a notebook in a real browser, Debian's installer from its CD, images made twice: ten minutes and more without /dev/kvm
#   make check      the part of the tests that needs no KVM (unit, block, state)
#   make lint | bench | fuzz | soak | install | deb | clean

ARCH   := $(shell uname -m)
MODE   ?= release
BUILD  ?= build
OUT    := $(BUILD)/$(ARCH)/$(MODE)
prefix ?= /usr/local

# ---- what there is, layer by layer; a layer may use itself and those above it (design: tests/lint/includes.sh)

SRCS_base     := $(wildcard vmm/base/*.c)
SRCS_core     := $(wildcard vmm/core/*.c)
SRCS_kvm      := $(wildcard vmm/kvm/*.c)
SRCS_x86      := $(wildcard vmm/x86/*.c)
SRCS_block    := $(wildcard devices/block/*.c devices/block/qcow2/*.c)
SRCS_net      := $(wildcard devices/net/*.c)
SRCS_chardev  := $(wildcard devices/chardev/*.c)
SRCS_device   := $(wildcard devices/*.c)
SRCS_pci      := $(wildcard devices/pci/*.c)
SRCS_virtio   := $(wildcard devices/virtio/*.c)
SRCS_platform := $(wildcard devices/platform/*.c)
SRCS_firmware := $(wildcard firmware/*.c)
SRCS_tools    := $(wildcard tools/image/*.c)
# What charmvm and its agent in the guest share, and what unit tests look at in that.
SRCS_agent    := $(addprefix guest-kit/agent/,frame.c tree_io.c tree_send.c tree_receive.c environment.c)
SRCS_vmm      := $(wildcard vmm/*.c vmm/agent/*.c vmm/snapshot/*.c vmm/control/*.c vmm/build/*.c vmm/import/*.c vmm/cli/*.c)

LAYERS := base core kvm x86 block net chardev device pci virtio platform firmware tools agent vmm

# libslirp, libext2fs, libarchive and libzstd are loaded when they are needed (vmm/base/library.h). The small ones are linked
# in: a shared library costs every process some six pages and its relocations, which is a third of what a command takes.
PKGS := zlib libzstd jansson
LIBS := -Wl,-Bstatic -lfdt -laio -ljansson -lz -Wl,-Bdynamic -lpthread

# ---- how it is built

ifeq ($(origin CC),default)
CC        := gcc
endif
WARNINGS  := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wvla \
             -Wimplicit-fallthrough -Wpointer-arith -Wformat=2 -Werror
CFLAGS_release := -O2 -g1 -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE -fno-plt \
             -ffunction-sections -fdata-sections
LDFLAGS_release := -pie -Wl,-z,relro,-z,now -Wl,--gc-sections -Wl,--as-needed -Wl,--compress-debug-sections=zlib
CFLAGS_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDFLAGS_asan   := -fsanitize=address,undefined
CFLAGS_tsan    := -O1 -g -fsanitize=thread
LDFLAGS_tsan   := -fsanitize=thread
CFLAGS_cov     := -O0 -g --coverage
LDFLAGS_cov    := --coverage
CFLAGS_fuzz    := -O1 -g -fsanitize=fuzzer-no-link,address,undefined
LDFLAGS_fuzz   := -fsanitize=fuzzer,address,undefined

VERSION  := 0.1.0
CPPFLAGS += -D_GNU_SOURCE -DCHARMVM_VERSION='"$(VERSION)"' -DCHARMVM_PREFIX='"$(prefix)"' -I. \
            $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
CFLAGS   += -std=gnu17 $(WARNINGS) $(CFLAGS_$(MODE))
LDFLAGS  += $(LDFLAGS_$(MODE))
LDLIBS   += $(LIBS)

ifneq ($(V),1)
Q := @
say = @echo "  $(1)	$(2)"
endif

.PHONY: all run test test-slow check lint bench fuzz fuzzers soak install deb clean tests
all: $(BUILD)/charmvm

# ---- layers: one static archive each, so that an upward call fails at link time in that layer's tests

# The archives of a layer and of all above it, in link order (lowest last).
upto = $(if $(filter $(1),$(firstword $(2))),$(1),$(firstword $(2)) $(call upto,$(1),$(wordlist 2,99,$(2))))
reverse = $(if $(1),$(call reverse,$(wordlist 2,99,$(1))) $(firstword $(1)))
archives = $(foreach l,$(call reverse,$(strip $(call upto,$(1),$(LAYERS)))),$(OUT)/lib$(l).a)

define layer_rules
OBJS_$(1) := $$(SRCS_$(1):%.c=$(OUT)/%.o)
$(OUT)/lib$(1).a: $$(OBJS_$(1))
	$$(call say,AR,$$@)
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach l,$(LAYERS),$(eval $(call layer_rules,$(l))))

$(OUT)/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(OUT)/charmvm: $(call archives,vmm)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(OUT)/vmm/main.o -Wl,--start-group $^ -Wl,--end-group $(LDLIBS)

$(BUILD)/charmvm: $(OUT)/charmvm
	$(Q)cp -f $< $@.tmp && mv -f $@.tmp $@

# ---- the agent as a program of the host: for unit tests; guest-kit compiles its own, static

$(OUT)/charmvm-agent: $(patsubst %.c,$(OUT)/%.o,$(wildcard guest-kit/agent/*.c))
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

# ---- unit tests: tests/unit/LAYER/test_*.c links that layer and those above it

UNIT_SRCS  := $(wildcard tests/unit/*/test_*.c)
UNIT_TESTS := $(UNIT_SRCS:%.c=$(OUT)/%)
# What a layer's tests share: the other .c files of its folder.
unit_help = $(patsubst %.c,$(OUT)/%.o,$(filter-out tests/unit/$(1)/test_%,$(wildcard tests/unit/$(1)/*.c)))

define unit_rules
$(OUT)/tests/unit/$(1)/test_%: $(OUT)/tests/unit/$(1)/test_%.o $(call unit_help,$(1)) $(call archives,$(1))
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(CFLAGS) $$(LDFLAGS) -o $$@ $$^ $$(LDLIBS)
endef
$(foreach l,$(LAYERS),$(eval $(call unit_rules,$(l))))

# ---- state tests: on the real /dev/kvm

STATE_TESTS := $(patsubst %.c,$(OUT)/%,$(wildcard tests/state/test_*.c))
$(STATE_TESTS): $(OUT)/%: $(OUT)/%.o $(OUT)/tests/state/world.o $(call archives,vmm)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)

# ---- block tests: long sequences against qemu-img

BLOCK_TESTS := $(patsubst %.c,$(OUT)/%,$(wildcard tests/block/test_*.c))
$(BLOCK_TESTS): $(OUT)/%: $(OUT)/%.o $(OUT)/tests/block/harness.o $(call archives,block)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

tests: $(UNIT_TESTS) $(STATE_TESTS) $(BLOCK_TESTS) $(OUT)/charmvm-agent
.SECONDARY:

# ---- the disk engine under load, for tools/bench/disk.sh

BENCH_WRAP := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=posix_memalign
$(OUT)/tools/bench/disk: $(OUT)/tools/bench/disk.o $(call archives,block)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(BENCH_WRAP) -o $@ $^ $(LDLIBS)

# ---- fuzz targets: tests/fuzz/fuzz_*.c with clang, linked with everything; corpora beside them

FUZZERS := $(patsubst %.c,$(OUT)/%,$(wildcard tests/fuzz/fuzz_*.c))
$(FUZZERS): $(OUT)/%: $(OUT)/%.o $(call unit_help,virtio) $(call archives,vmm)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter-out %.a,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)
fuzzers: $(FUZZERS)

# ---- what people type

deps-%:
	@tools/install-deps.sh $(subst -, ,$*)

# The packages come first, and only then may pkg-config be asked: hence make once more.
run: deps-build-image-lab
	@$(MAKE) --no-print-directory all
	@tools/demo.sh $(BUILD)/charmvm

test: deps-build-image-lab-test-lint
	@tests/all.sh
# What takes too long for every day: a machine of the scientific size and a browser, and an installer from its CD.
test-slow: deps-build-image-lab-test-browser
	@$(MAKE) --no-print-directory all
	@tests/e2e/slow.sh
check: deps-build-test
	@tests/all.sh unit block
lint: deps-build-lint
	@tests/lint/all.sh
bench: deps-build-image-lab-test
	@$(MAKE) --no-print-directory all $(OUT)/tools/bench/disk
	@tools/bench/bench.sh
# FUZZ_SECONDS for each target; SOAK_SECONDS for the model sequences and power cuts.
fuzz: deps-build-test
	@$(MAKE) --no-print-directory MODE=fuzz CC=clang fuzzers
	@tests/fuzz/run.sh $(or $(FUZZ_SECONDS),60)
soak: deps-build-test
	@$(MAKE) --no-print-directory MODE=asan tests
	@tests/block/soak.sh $(or $(SOAK_SECONDS),600)

MAN_PAGES := $(wildcard vmm/*.[157]) tools/image/charmvm-image.1 vmm/build/Charmfile.5
install: all
	install -D -m 755 $(BUILD)/charmvm $(DESTDIR)$(prefix)/bin/charmvm
	for page in $(MAN_PAGES); do \
		install -D -m 644 $$page $(DESTDIR)$(prefix)/share/man/man$${page##*.}/$${page##*/} || exit; \
	done
	install -D -m 644 vmm/tutorial.md $(DESTDIR)$(prefix)/share/doc/charmvm/tutorial.md
	install -D -m 644 tools/completion/charmvm.bash $(DESTDIR)$(prefix)/share/bash-completion/completions/charmvm
	install -D -m 644 tools/completion/_charmvm $(DESTDIR)$(prefix)/share/zsh/site-functions/_charmvm
	install -D -m 644 tools/completion/charmvm.fish $(DESTDIR)$(prefix)/share/fish/vendor_completions.d/charmvm.fish
	mkdir -p $(DESTDIR)$(prefix)/share/charmvm # FROM debian:12 needs it; its agent/build asks the Makefile above for the version
	cp -R guest-kit $(DESTDIR)$(prefix)/share/charmvm/
	echo 'VERSION := $(VERSION)' >$(DESTDIR)$(prefix)/share/charmvm/Makefile

# What is installed, as a package of this distribution: build/charmvm_VERSION_ARCH.deb.
deb: deps-build-deb
	@$(MAKE) --no-print-directory all
	@tools/make-deb $(VERSION) $(BUILD)

clean:
	rm -rf $(BUILD)

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
