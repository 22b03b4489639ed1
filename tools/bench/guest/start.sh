# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Run in a guest that has booted: prints when what was done, by its own clock, in microseconds since its kernel began.
until [ "$(systemctl show --value -p FinishTimestampMonotonic)" != 0 ]; do sleep 1; done
python3 - <<'END'
from time import CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime
print("began", int(1e6 * (clock_gettime(CLOCK_REALTIME) - clock_gettime(CLOCK_MONOTONIC))))
END
dmesg | sed -n 's/^\[ *\([0-9]*\)\.\([0-9]*\)\] Run \/init as.*/init \1\2/p'
echo "units $(systemctl show --value -p UserspaceTimestampMonotonic)"
echo "sshd $(systemctl show --value -p ActiveEnterTimestampMonotonic ssh.service)"
echo "all $(systemctl show --value -p FinishTimestampMonotonic)"
systemd-analyze blame --no-pager | head -n 6 | sed 's/^ */unit /'
systemctl list-units --failed --no-legend --plain | sed 's/^/failed /'
# What each of them waited for, from sshd back to the first.
systemd-analyze critical-chain --no-pager ssh.service | sed -n 's/^[^[:alnum:]-]*\([^ ]*\.[a-z]*\) @\([0-9.]*[a-z]*\).*/chain \1 \2/p'
systemctl list-jobs --no-legend --plain | sed 's/^ *[0-9]* *\([^ ]*\).*/jobs \1/'
