#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every source says its licence in its first line, or in the second after "#!". Documents, dot files, what
# cannot carry a comment, and the few lines of settings that go into a guest as they are, are exempt.
set -u
cd "$(dirname "$0")/../.." || exit

tests/lint/files.sh all |
	grep -vE '^LICENSE$|\.md$|(^|/)\.[^/]*$|\.(qcow2|bin|json)$|^tests/.*/corpus/' |
	xargs awk '
		function judge() {
			if (file != "" && !fine) {
				print file ": no SPDX line"
				bad = 1
			}
		}
		FNR == 1 {
			judge()
			file = FILENAME
			fine = file ~ /^guest-kit\/rootfs\// && !/^#!/
		}
		/SPDX-License-Identifier: Apache-2\.0/ { fine = 1 }
		fine || FNR == 2 { nextfile }
		END {
			judge()
			exit bad
		}'
