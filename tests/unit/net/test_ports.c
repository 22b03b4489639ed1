/* SPDX-License-Identifier: Apache-2.0 */
/* Names, codes, and sets of ports that move. */
#include "devices/net/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <unistd.h>

#include "devices/net/forward.h"
#include "tests/unit/net/netns.h"
#include "tests/unit/test.h"
#include "vmm/base/checked.h"

TEST(codes_follow_from_names)
{
	static const struct {
		const char *name;
		unsigned int code;
	} names[] = {
		{ "charmed27", 27 },	    { "charmed34", 34 },
		{ "charmed39", 39 },	    { "charmed310", 10 },
		{ "charmed311.qcow2", 11 }, { "charmed314", 14 },
		{ "charmed399", 99 },	    { "charmed34.qcow2", 34 },
		{ "charmed33", 0 },	    { "charmed28", 0 },
		{ "charmed305", 0 },	    { "charmed3110", 0 },
		{ "charmed", 0 },	    { "charmed3", 0 },
		{ "charmed311x", 0 },	    { "Charmed311", 0 },
		{ "debian12.qcow2", 0 },    { "", 0 },
		{ "mycharmed34", 0 },	    { "charmed34-work.img", 34 },
		{ "charmed411", 0 },	    { "charmed311-scientific", 11 },
		{ "charmed3-11", 0 },	    { "charmed-311", 0 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (ports_code_of_name(names[i].name) != names[i].code)
			printf("  %s\n", names[i].name);
		CHECK_EQ(ports_code_of_name(names[i].name), names[i].code);
	}
}

static int take(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK_EQ(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_EQ(listen(fd, 1), 0);
	return fd;
}

/* Everything a test binds, given back at its end. */
struct bound {
	struct forward_list l;
	struct ports_result r;
};

static int bind_name(struct bound *b, const char *name, unsigned int code)
{
	struct ports_config cfg = { .name = name, .code = code };
	if (!netns_enter())
		SKIP("no network namespace, and the ports may be in use");
	forward_list_init(&b->l);
	return ports_bind(&cfg, &b->l, &b->r);
}

TEST(charmed_image_gets_its_twelve_ports)
{
	struct bound b;
	CHECK_EQ(bind_name(&b, "charmed311", 0), 0);
	CHECK_EQ(b.r.code, 11);
	CHECK_EQ(b.r.wanted, 11);
	CHECK(b.r.full_set);
	CHECK_EQ(forward_list_count(&b.l), 24); /* of both families */
	CHECK(forward_list_has(&b.l, false, 2211));
	CHECK(forward_list_has(&b.l, false, 8811));
	for (unsigned int i = 90; i < 100; i++)
		CHECK(forward_list_has(&b.l, false, (uint16_t)(i * 100 + 11)));
	const struct list *pos;
	list_for_each (pos, &b.l.head) {
		const struct forward *f = list_entry(pos, const struct forward, link);
		char text[FORWARD_ADDR_STR];
		unsigned int host = (unsigned int)atoi(strrchr(forward_addr_str(f, text), ':') + 1);
		CHECK_EQ(f->guest_port, host == 2211 ? 22 : host);
	}
	forward_list_fini(&b.l);
}

TEST(only_exposed_ports_listen_on_all_addresses)
{
	struct ports_config cfg = { .name = "charmed311",
				    .exposed = { .free = true, .ports = { 8811 }, .nports = 1 } };
	struct bound b;
	if (!netns_enter())
		SKIP("no network namespace, and the ports may be in use");
	forward_list_init(&b.l);
	CHECK_EQ(ports_bind(&cfg, &b.l, &b.r), 0);
	const struct list *pos;
	list_for_each (pos, &b.l.head) {
		const struct forward *f = list_entry(pos, const struct forward, link);
		char text[FORWARD_ADDR_STR];
		forward_addr_str(f, text);
		bool loopback = !strncmp(text, "127.0.0.1:", 10) || !strncmp(text, "[::1]:", 6);
		CHECK_EQ(loopback, f->guest_port == 22);
	}
	forward_list_fini(&b.l);
}

TEST(other_image_gets_ssh_only)
{
	struct bound b;
	CHECK_EQ(bind_name(&b, "debian12.qcow2", 0), 0);
	CHECK_EQ(b.r.code, 46);
	CHECK_EQ(b.r.wanted, 0);
	CHECK(!b.r.full_set);
	CHECK_EQ(forward_list_count(&b.l), 2);
	CHECK(forward_list_has(&b.l, false, 2246));
	forward_list_fini(&b.l);
}

TEST(one_taken_port_moves_the_whole_set)
{
	struct bound b;
	if (!netns_enter())
		SKIP("no network namespace");
	int stranger = take(9734);
	CHECK_EQ(bind_name(&b, "charmed34", 0), 0);
	CHECK_EQ(b.r.code, 46);
	CHECK_EQ(b.r.wanted, 34);
	CHECK_EQ(b.r.taken_port, 9734);
	CHECK_STR(b.r.taken_by, "this machine itself");
	CHECK(forward_list_has(&b.l, false, 2246));
	CHECK(forward_list_has(&b.l, false, 9946));
	/* What was bound of the first set has been given back. */
	close(take(2234));
	close(take(8834));
	forward_list_fini(&b.l);
	close(stranger);
}

TEST(sets_of_one_name_take_all_codes_and_then_fail)
{
	static const unsigned int order[] = { 34, 46, 49, 55, 56, 57, 58, 59, 62, 72, 86 };
	struct bound b[ARRAY_SIZE(order)], last;
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		CHECK_EQ(bind_name(&b[i], "charmed34", 0), 0);
		CHECK_EQ(b[i].r.code, order[i]);
	}
	log_capture_begin();
	int err = bind_name(&last, "charmed34", 0);
	const char *said = log_capture_end();
	CHECK_EQ(err, -EADDRINUSE);
	CHECK(strstr(said, "port 2234 is taken by"));
	CHECK(strstr(said, "--code"));
	CHECK_EQ(forward_list_count(&last.l), 0);
	/* One for which SSH suffices. */
	const struct ports_config one = { .name = "charmed34", .ssh_suffices = true };
	CHECK_EQ(ports_bind(&one, &last.l, &last.r), 0);
	CHECK(!last.r.full_set);
	CHECK_EQ(forward_list_count(&last.l), 2);
	CHECK(forward_list_has(&last.l, false, 2299));
	forward_list_fini(&last.l);
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		forward_list_fini(&b[i].l);
}

TEST(chosen_code_is_taken_or_fails)
{
	struct bound b, second;
	CHECK_EQ(bind_name(&b, "charmed34", 77), 0);
	CHECK_EQ(b.r.code, 77);
	CHECK(forward_list_has(&b.l, false, 8877));
	log_capture_begin();
	int err = bind_name(&second, "charmed34", 77);
	const char *said = log_capture_end();
	CHECK_EQ(err, -EADDRINUSE);
	CHECK(strstr(said, "--code 77: port 2277 is taken by"));
	log_capture_begin();
	err = bind_name(&second, "charmed34", 100);
	log_capture_end();
	CHECK_EQ(err, -EINVAL);
	forward_list_fini(&b.l);
}

TEST(port_forwarded_by_hand_stays_as_it_is)
{
	struct bound b;
	struct ports_config cfg = { .name = "charmed34" };
	struct forward_spec own;
	if (!netns_enter())
		SKIP("no network namespace");
	forward_list_init(&b.l);
	CHECK_EQ(forward_parse("8834:80", &own), 0);
	CHECK_EQ(forward_bind(&b.l, &own), 0);
	CHECK_EQ(ports_bind(&cfg, &b.l, &b.r), 0);
	CHECK_EQ(b.r.code, 34);
	CHECK_EQ(forward_list_count(&b.l), 24);
	CHECK_EQ(list_first(&b.l.head, struct forward, link)->guest_port, 80);
	forward_list_fini(&b.l);
}

TEST(many_other_images_find_codes)
{
	enum { MANY = 75, OF_TWO_DIGITS = 60 };
	struct bound b[MANY];
	for (int i = 0; i < MANY; i++) {
		CHECK_EQ(bind_name(&b[i], "debian12", 0), 0);
		CHECK_EQ(ports_code_of_name("x"), 0);
		for (int j = 0; j < i; j++)
			CHECK(b[i].r.code != b[j].r.code);
		CHECK(b[i].r.code > 39);
		CHECK_EQ(b[i].r.code > 99, i >= OF_TWO_DIGITS);
	}
	CHECK_EQ(b[OF_TWO_DIGITS].r.code, 100);
	CHECK(forward_list_has(&b[OF_TWO_DIGITS].l, false, 22100));
	for (int i = 0; i < MANY; i++)
		forward_list_fini(&b[i].l);
}

TEST_MAIN(T(codes_follow_from_names), T(charmed_image_gets_its_twelve_ports),
	  T(only_exposed_ports_listen_on_all_addresses), T(other_image_gets_ssh_only),
	  T(one_taken_port_moves_the_whole_set), T(sets_of_one_name_take_all_codes_and_then_fail),
	  T(chosen_code_is_taken_or_fails), T(port_forwarded_by_hand_stays_as_it_is),
	  T(many_other_images_find_codes))
