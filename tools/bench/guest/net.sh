# SPDX-License-Identifier: Apache-2.0
# The guest's script of the network benchmark: the address that both user networks give out.
until [ -e /sys/class/net/eth0 ]; do sleep 0.1; done
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
exec bench-net serve 5000 NET_PIECES NET_TRIPS
