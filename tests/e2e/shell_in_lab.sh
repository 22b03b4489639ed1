#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs in the lab for a test that is outside of it: a shell with what lib.sh has. It takes a command a line on its standard input, and
# answers on its standard output with what that says, and then a line "= STATUS".
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
while IFS= read -r command; do
	eval "$command" </dev/null 2>&1
	echo "= $?"
done
