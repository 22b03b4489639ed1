#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The layer rule: a folder may include itself and what this table gives it, nothing else. Includes of ours
# are written from the top of the tree, so that a reader sees the layer.
set -u
cd "$(dirname "$0")/../.." || exit

# folder: the folders and headers it may include beside itself; after "!": and which of those not
rules='
vmm/base:
vmm/core:         vmm/base/
vmm/kvm:          vmm/base/ vmm/core/
devices/block:    vmm/base/ vmm/core/ devices/block/qcow2/ !vmm/core/guestmem.h !vmm/core/bus.h !vmm/core/irq.h
devices/block/qcow2: vmm/base/ vmm/core/ devices/block/ !vmm/core/guestmem.h !vmm/core/bus.h !vmm/core/irq.h
devices/net:      vmm/base/ vmm/core/ !vmm/core/guestmem.h !vmm/core/bus.h !vmm/core/irq.h
devices/chardev:  vmm/base/ vmm/core/ !vmm/core/guestmem.h !vmm/core/bus.h !vmm/core/irq.h
devices:          vmm/base/ vmm/core/
devices/pci:      vmm/base/ vmm/core/ devices/device.h
devices/virtio:   vmm/base/ vmm/core/ devices/device.h devices/pci/ devices/block/block.h devices/net/net.h devices/chardev/chardev.h
devices/platform: vmm/base/ vmm/core/ devices/device.h devices/chardev/chardev.h devices/chardev/ring.h
firmware:         vmm/base/ vmm/core/ devices/block/block.h vmm/x86/layout.h
vmm/x86:          vmm/base/ vmm/core/ vmm/kvm/
tools/image:      vmm/base/ vmm/core/ devices/block/ firmware/
guest-kit/agent:
vmm:              vmm/ devices/ firmware/ tools/image/ guest-kit/agent/frame.h guest-kit/agent/tree.h
vmm/agent:        vmm/base/ vmm/core/ vmm/exit_status.h devices/device.h devices/chardev/ guest-kit/agent/
vmm/snapshot:     vmm/ devices/ !vmm/control/ !vmm/cli/
vmm/control:      vmm/ devices/ !vmm/cli/
vmm/build:        vmm/base/
vmm/import:       vmm/ devices/ tools/image/ !vmm/control/ !vmm/cli/
vmm/cli:          vmm/ devices/ tools/image/ guest-kit/agent/
'

tests/lint/files.sh product | xargs awk -v rules="$rules" '
BEGIN {
	n = split(rules, line, "\n")
	for (i = 1; i <= n; i++)
		if (split(line[i], part, ":") == 2)
			allowed[part[1]] = part[2]
}
FNR == 1 {
	folder = FILENAME
	sub(/\/[^\/]*$/, "", folder)
	if (!(folder in allowed)) {
		print FILENAME ": its folder " folder " is in no layer; add it to tests/lint/includes.sh"
		bad = 1
	}
}
/^[ \t]*#[ \t]*include[ \t]*"/ {
	split($0, quoted, "\"")
	target = quoted[2]
	home = target
	if (!sub(/\/[^\/]*$/, "", home))
		home = ""
	ok = home == folder
	m = split(allowed[folder], give, " ")
	for (i = 1; i <= m; i++)
		if (index(target, substr(give[i], 1 + (give[i] ~ /^!/))) == 1)
			ok = give[i] !~ /^!/
	if (!ok) {
		print FILENAME ":" FNR ": " folder " must not include \"" target "\""
		bad = 1
	}
}
END { exit bad }'
