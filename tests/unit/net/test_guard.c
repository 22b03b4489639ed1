/* SPDX-License-Identifier: Apache-2.0 */
/* Which destinations pass, one table each. */
#include "devices/net/guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "devices/net/csum.h"
#include "tests/unit/test.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

enum { FIN = 1, SYN = 2, RST = 4, ACK = 16, ECE = 64, CWR = 128 };

/* A packet to @dst of either family; -> its length. Data offset, lengths and ports are right. */
static size_t make(uint8_t *f, const char *dst, uint8_t proto, uint16_t sport, uint16_t dport,
		   uint8_t flags)
{
	size_t l4_len = proto == IPPROTO_TCP ? 20 : 8;
	bool v4 = !strchr(dst, ':');
	uint8_t *ip = f + 14, *l4 = ip + (v4 ? 20 : 40);
	memset(f, 0, 128);
	put_be16(f + 12, v4 ? 0x0800 : 0x86dd);
	if (v4) {
		ip[0] = 0x45;
		put_be16(ip + 2, (uint16_t)(20 + l4_len));
		ip[9] = proto;
		put_be32(ip + 12, 0x0a00020f);
		inet_pton(AF_INET, dst, ip + 16);
	} else {
		ip[0] = 0x60;
		put_be16(ip + 4, (uint16_t)l4_len);
		ip[6] = proto;
		inet_pton(AF_INET6, dst, ip + 24);
	}
	put_be16(l4, sport);
	put_be16(l4 + 2, dport);
	if (proto == IPPROTO_TCP) {
		l4[12] = 0x50;
		l4[13] = flags;
	}
	return (size_t)(l4 - f) + l4_len;
}

static enum guard_verdict check(struct guard *g, const char *dst, uint8_t proto, uint16_t dport,
				uint8_t flags)
{
	uint8_t f[128];
	size_t len = make(f, dst, proto, 1234, dport, flags);
	return guard_check(g, f, len, 0);
}

static struct guard fresh(void)
{
	return (struct guard){ .mtu_bytes = 65520 };
}

TEST(new_connections_by_destination)
{
	static const struct {
		const char *dst;
		enum guard_verdict want;
	} rules[] = {
		{ "93.184.216.34", GUARD_PASS },
		{ "192.168.1.1", GUARD_PASS },
		{ "10.0.3.2", GUARD_PASS },
		{ "10.0.2.3", GUARD_PASS },
		{ "10.0.2.2", GUARD_REFUSE },
		{ "10.0.2.77", GUARD_REFUSE },
		{ "127.0.0.1", GUARD_REFUSE },
		{ "127.255.255.254", GUARD_REFUSE },
		{ "0.0.0.0", GUARD_REFUSE },
		{ "0.1.2.3", GUARD_REFUSE },
		{ "224.0.0.1", GUARD_REFUSE },
		{ "255.255.255.255", GUARD_REFUSE },
		{ "2001:db8::1", GUARD_PASS },
		{ "fec0::3", GUARD_PASS },
		{ "fd00::1", GUARD_PASS },
		{ "fec0::2", GUARD_REFUSE },
		{ "fec0::1234", GUARD_REFUSE },
		{ "::1", GUARD_REFUSE },
		{ "::", GUARD_REFUSE },
		{ "::7f00:1", GUARD_REFUSE },
		{ "::ffff:127.0.0.1", GUARD_REFUSE },
		{ "::ffff:93.184.216.34", GUARD_REFUSE },
		{ "fe80::2", GUARD_REFUSE },
		{ "ff02::1", GUARD_REFUSE },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		struct guard g = fresh();
		if (check(&g, rules[i].dst, IPPROTO_TCP, 22, SYN) != rules[i].want)
			printf("  %s\n", rules[i].dst);
		CHECK_EQ(check(&g, rules[i].dst, IPPROTO_TCP, 22, SYN), rules[i].want);
		/* As libslirp sees it these two bits make no difference. */
		CHECK_EQ(check(&g, rules[i].dst, IPPROTO_TCP, 22, SYN | ECE | CWR), rules[i].want);
	}
}

TEST(segments_of_connections_from_the_gateway_pass)
{
	struct guard g = fresh();
	CHECK_EQ(check(&g, "10.0.2.2", IPPROTO_TCP, 40000, SYN | ACK), GUARD_PASS);
	CHECK_EQ(check(&g, "10.0.2.2", IPPROTO_TCP, 40000, ACK), GUARD_PASS);
	CHECK_EQ(check(&g, "10.0.2.2", IPPROTO_TCP, 40000, FIN | ACK), GUARD_PASS);
	CHECK_EQ(check(&g, "10.0.2.2", IPPROTO_TCP, 40000, RST), GUARD_PASS);
	CHECK_EQ(check(&g, "127.0.0.1", IPPROTO_TCP, 40000, ACK), GUARD_DROP);
}

TEST(datagrams_by_destination)
{
	static const struct {
		const char *dst;
		uint16_t port;
		enum guard_verdict want;
	} rules[] = {
		{ "93.184.216.34", 123, GUARD_PASS },  { "10.0.2.3", 53, GUARD_PASS },
		{ "10.0.2.2", 67, GUARD_PASS },	       { "255.255.255.255", 67, GUARD_PASS },
		{ "10.0.2.2", 69, GUARD_DROP },	       { "10.0.2.2", 53, GUARD_DROP },
		{ "255.255.255.255", 69, GUARD_DROP }, { "127.0.0.1", 67, GUARD_DROP },
		{ "224.0.0.251", 5353, GUARD_DROP },   { "10.0.2.255", 137, GUARD_DROP },
		{ "2001:db8::1", 53, GUARD_PASS },     { "fec0::3", 53, GUARD_PASS },
		{ "ff02::1:2", 547, GUARD_PASS },      { "ff02::fb", 5353, GUARD_DROP },
		{ "fec0::2", 53, GUARD_DROP },	       { "::1", 53, GUARD_DROP },
		{ "fe80::2", 53, GUARD_DROP },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		struct guard g = fresh();
		if (check(&g, rules[i].dst, IPPROTO_UDP, rules[i].port, 0) != rules[i].want)
			printf("  %s %u\n", rules[i].dst, rules[i].port);
		CHECK_EQ(check(&g, rules[i].dst, IPPROTO_UDP, rules[i].port, 0), rules[i].want);
	}
}

TEST(icmp_by_destination)
{
	struct guard g = fresh();
	CHECK_EQ(check(&g, "10.0.2.2", IPPROTO_ICMP, 0, 0), GUARD_PASS);
	CHECK_EQ(check(&g, "1.1.1.1", IPPROTO_ICMP, 0, 0), GUARD_PASS);
	CHECK_EQ(check(&g, "127.0.0.1", IPPROTO_ICMP, 0, 0), GUARD_DROP);
	CHECK_EQ(check(&g, "ff02::2", IPPROTO_ICMPV6, 0, 0), GUARD_PASS);
	CHECK_EQ(check(&g, "fec0::2", IPPROTO_ICMPV6, 0, 0), GUARD_PASS);
	CHECK_EQ(check(&g, "::1", IPPROTO_ICMPV6, 0, 0), GUARD_DROP);
	/* Each family its own. */
	CHECK_EQ(check(&g, "10.0.2.2", IPPROTO_ICMPV6, 0, 0), GUARD_DROP);
	CHECK_EQ(check(&g, "fec0::2", IPPROTO_ICMP, 0, 0), GUARD_DROP);
	CHECK_EQ(check(&g, "1.1.1.1", IPPROTO_SCTP, 0, 0), GUARD_DROP);
}

TEST(allowed_ports_open_the_gateway_only)
{
	struct guard g = fresh();
	g.ports[0] = 5432;
	g.n_ports = 1;
	CHECK_EQ(check(&g, "10.0.2.2", IPPROTO_TCP, 5432, SYN), GUARD_PASS);
	CHECK_EQ(check(&g, "fec0::2", IPPROTO_TCP, 5432, SYN), GUARD_PASS);
	CHECK_EQ(check(&g, "10.0.2.2", IPPROTO_UDP, 5432, 0), GUARD_PASS);
	CHECK_EQ(check(&g, "10.0.2.2", IPPROTO_TCP, 5433, SYN), GUARD_REFUSE);
	CHECK_EQ(check(&g, "127.0.0.1", IPPROTO_TCP, 5432, SYN), GUARD_REFUSE);
	g.loopback_all = true;
	CHECK_EQ(check(&g, "10.0.2.2", IPPROTO_TCP, 5433, SYN), GUARD_PASS);
	CHECK_EQ(check(&g, "::1", IPPROTO_TCP, 5433, SYN), GUARD_REFUSE);
}

TEST(datagram_from_the_host_may_be_answered_and_nobody_else)
{
	struct guard g = fresh();
	uint8_t f[128];
	/* From 10.0.2.2:777 to the guest's 53. */
	size_t len = make(f, "10.0.2.15", IPPROTO_UDP, 777, 53, 0);
	put_be32(f + 14 + 12, 0x0a000202);
	guard_saw(&g, f, len);
	len = make(f, "10.0.2.2", IPPROTO_UDP, 53, 777, 0);
	CHECK_EQ(guard_check(&g, f, len, 0), GUARD_PASS);
	len = make(f, "10.0.2.2", IPPROTO_UDP, 53, 778, 0);
	CHECK_EQ(guard_check(&g, f, len, 0), GUARD_DROP);
	len = make(f, "10.0.2.2", IPPROTO_UDP, 54, 777, 0);
	CHECK_EQ(guard_check(&g, f, len, 0), GUARD_DROP);
	/* Only so many are remembered. */
	for (uint16_t port = 1000; port < 1000 + GUARD_PEERS_MAX; port++) {
		len = make(f, "10.0.2.15", IPPROTO_UDP, port, 53, 0);
		put_be32(f + 14 + 12, 0x0a000202);
		guard_saw(&g, f, len);
	}
	len = make(f, "10.0.2.2", IPPROTO_UDP, 53, 777, 0);
	CHECK_EQ(guard_check(&g, f, len, 0), GUARD_DROP);
}

TEST(fragments_hide_nothing)
{
	struct guard g = fresh();
	uint8_t f[128];
	size_t len = make(f, "10.0.2.2", IPPROTO_TCP, 1, 22, SYN);
	put_be16(f + 14 + 6, 0x2000); /* more follow */
	CHECK_EQ(guard_check(&g, f, len, 0), GUARD_DROP);
	put_be16(f + 14 + 6, 1); /* the second one: its "ports" are data */
	CHECK_EQ(guard_check(&g, f, len, 0), GUARD_DROP);
	len = make(f, "127.0.0.1", IPPROTO_UDP, 1, 22, 0);
	put_be16(f + 14 + 6, 1);
	CHECK_EQ(guard_check(&g, f, len, 0), GUARD_DROP);
}

TEST(fragments_to_the_world_are_rationed)
{
	struct guard g = fresh();
	uint8_t f[128];
	unsigned int passed = 0;
	size_t len = make(f, "1.1.1.1", IPPROTO_UDP, 1, 22, 0);
	put_be16(f + 14 + 6, 0x2000);
	for (int i = 0; i < 1000; i++)
		passed += guard_check(&g, f, len, UINT64_C(5500000000)) == GUARD_PASS;
	CHECK_EQ(passed, 128);
	CHECK_EQ(guard_check(&g, f, len, UINT64_C(6000000000)), GUARD_PASS);
}

TEST(too_many_flows_open_no_more)
{
	struct guard g = fresh();
	g.flows_full = g.loopback_all = true;
	CHECK_EQ(check(&g, "1.1.1.1", IPPROTO_TCP, 80, SYN), GUARD_REFUSE);
	CHECK_EQ(check(&g, "1.1.1.1", IPPROTO_TCP, 80, ACK), GUARD_PASS);
	CHECK_EQ(check(&g, "1.1.1.1", IPPROTO_UDP, 80, 0), GUARD_DROP);
	CHECK_EQ(check(&g, "1.1.1.1", IPPROTO_ICMP, 0, 0), GUARD_DROP);
	CHECK_EQ(check(&g, "10.0.2.2", IPPROTO_TCP, 80, SYN), GUARD_REFUSE);
	CHECK_EQ(check(&g, "10.0.2.2", IPPROTO_UDP, 67, 0), GUARD_PASS);
}

TEST(packets_that_lie_about_their_length_are_dropped)
{
	struct guard g = fresh();
	uint8_t f[128];
	size_t len = make(f, "1.1.1.1", IPPROTO_TCP, 1, 80, SYN);
	CHECK_EQ(guard_check(&g, f, len - 1, 0), GUARD_DROP);
	put_be16(f + 16, 39); /* half a TCP header */
	CHECK_EQ(guard_check(&g, f, len, 0), GUARD_DROP);
	put_be16(f + 16, 40);
	f[14] = 0x44; /* a header of 16 bytes */
	CHECK_EQ(guard_check(&g, f, len, 0), GUARD_DROP);
	f[14] = 0x4f; /* and one of 60 */
	CHECK_EQ(guard_check(&g, f, len, 0), GUARD_DROP);
	f[14] = 0x65;
	CHECK_EQ(guard_check(&g, f, len, 0), GUARD_DROP);
	len = make(f, "2001:db8::1", IPPROTO_TCP, 1, 80, SYN);
	put_be16(f + 18, 21);
	CHECK_EQ(guard_check(&g, f, len, 0), GUARD_DROP);
	put_be16(f + 18, 19);
	CHECK_EQ(guard_check(&g, f, len, 0), GUARD_DROP);
	CHECK_EQ(guard_check(&g, f, 13, 0), GUARD_DROP);
}

TEST(only_tcp_exceeds_the_mtu)
{
	static uint8_t f[65549];
	struct guard g = fresh();
	g.mtu_bytes = 1500;
	make(f, "10.0.2.2", IPPROTO_ICMP, 0, 0, 0);
	put_be16(f + 16, 1501);
	CHECK_EQ(guard_check(&g, f, 1515, 0), GUARD_DROP);
	put_be16(f + 16, 1500);
	CHECK_EQ(guard_check(&g, f, 1515, 0), GUARD_PASS);
	make(f, "1.1.1.1", IPPROTO_TCP, 1, 80, ACK);
	put_be16(f + 16, 65535);
	CHECK_EQ(guard_check(&g, f, sizeof(f), 0), GUARD_PASS);
}

TEST(other_protocols_of_the_link_are_dropped)
{
	struct guard g = fresh();
	uint8_t f[64] = { 0 };
	put_be16(f + 12, 0x88f8); /* NC-SI, which libslirp would answer */
	CHECK_EQ(guard_check(&g, f, sizeof(f), 0), GUARD_DROP);
	put_be16(f + 12, 0x8100);
	CHECK_EQ(guard_check(&g, f, sizeof(f), 0), GUARD_DROP);
	put_be16(f + 12, 0x0806);
	CHECK_EQ(guard_check(&g, f, sizeof(f), 0), GUARD_PASS);
}

TEST(refusal_keeps_the_checksum_true)
{
	uint8_t f[128];
	/* Two ports such that the checksum takes its odd values, 0 among them. */
	for (unsigned int port = 0; port < 65536; port += 1) {
		size_t len = make(f, "127.0.0.1", IPPROTO_TCP, (uint16_t)port, 22, SYN);
		uint16_t sum = (uint16_t)~csum_sum(f + 34, len - 34, 0);
		memcpy(f + 34 + 16, &sum, 2);
		guard_refuse(f);
		CHECK_EQ(f[34 + 13], SYN | FIN);
		CHECK_EQ(csum_sum(f + 34, len - 34, 0), 0xffff);
	}
}

TEST_MAIN(T(new_connections_by_destination), T(segments_of_connections_from_the_gateway_pass),
	  T(datagrams_by_destination), T(icmp_by_destination),
	  T(allowed_ports_open_the_gateway_only),
	  T(datagram_from_the_host_may_be_answered_and_nobody_else), T(fragments_hide_nothing),
	  T(fragments_to_the_world_are_rationed), T(too_many_flows_open_no_more),
	  T(packets_that_lie_about_their_length_are_dropped), T(only_tcp_exceeds_the_mtu),
	  T(other_protocols_of_the_link_are_dropped), T(refusal_keeps_the_checksum_true))
