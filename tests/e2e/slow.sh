#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What takes too long for every day: a notebook in a browser, the tutorial with its notebook, an installer from its CD, images made twice.
set -u
cd "$(dirname "$0")/../.." || exit
TOTALS=$PWD/${BUILD:-build}/slow.totals
rm -f "$TOTALS"
INSTALLER_CD=$(tests/e2e/installer_cd.sh trixie 13) || exit
for recipe in charmed311 charmed311-scientific; do
	guest-kit/demo-image $recipe >/dev/null || exit
done
export TOTALS INSTALLER_CD SLOW=1
status=0
tests/run.sh -v -j 1 -t 7300 tests/e2e/test_notebook.sh tests/e2e/test_notebook_ready.sh || status=1
tests/run.sh -v -j 1 -t 3000 tests/e2e/test_same.sh || status=1
tests/in_lab.sh 1200 tests/e2e/test_tutorial.sh tests/e2e/test_installer.sh || status=1
exit $status
