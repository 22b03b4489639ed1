/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine stands on in the host. */
#include "vmm/backends.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "devices/block/block.h"
#include "devices/block/lock.h"
#include "devices/block/overlay.h"
#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/snapshot.h"
#include "devices/chardev/chardev.h"
#include "devices/net/net.h"
#include "devices/net/pcap.h"
#include "devices/net/slirp.h"
#include "vmm/agent/agent.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"
#include "vmm/login.h"
#include "vmm/snapshot/snapshot_head.h"
#include "vmm/snapshot/snapshot_table.h"

enum { GUEST_SSH_PORT = 22 };

/* ---- with --throw-away ---- */

/* How often others may change the snapshots of the image just while we look for ours. */
enum { FORK_TRIES = 10 };

static int co_identify(struct blk_node *n, void *arg)
{
	return snapshot_co_identify(n, arg);
}

/* It is locked now: all of it is read again, unless nothing has changed since the image was opened. */
static int co_view(struct blk_node *n, void *arg)
{
	struct snapshot *s = arg, again = { .n_extents = 0 };
	if (!qcow2_co_snapshots_are_current(n))
		return -EAGAIN;
	snprintf(again.name, sizeof(again.name), "%s", s->id); /* its name may be another's id */
	int err = snapshot_co_identify(n, &again);
	if (err || strcmp(again.name, s->name) != 0)
		return -EAGAIN;
	return qcow2_co_view_snapshot(n, s->id);
}

/* Which snapshot it is has to be read before it can be locked. -> -EAGAIN: the image has other snapshots by now. */
static int lock_and_view(struct backends *b, const struct machine_config *cfg,
			 struct blk_node *image)
{
	struct snapshot s = { .n_extents = 0 };
	snprintf(s.name, sizeof(s.name), "%s", cfg->from);
	int err = blk_is_qcow2(image) ? qcow2_run(image, co_identify, &s) : -ENOENT;
	if (err) {
		log_error("%s: %s", cfg->image, snapshot_table_explain(err));
		return err;
	}
	err = lock_snapshot(cfg->image, s.id, &b->fork_fd);
	if (err)
		return -EBUSY;
	err = qcow2_run(image, co_view, &s);
	if (err) {
		close(b->fork_fd);
		b->fork_fd = -1;
	}
	return err;
}

/* The image as it was in the snapshot, whoever else has it open. */
static int open_view(struct backends *b, const struct machine_config *cfg, const char *const *allow,
		     struct blk_node **out)
{
	struct blk_open_opts opts = { .allow_backing = allow };
	struct blk_node *image;
	int err = -EAGAIN;
	for (int tries = 0; tries < FORK_TRIES && err == -EAGAIN; tries++) {
		err = blk_open_with(b->loop, cfg->image, NULL, BLK_OPEN_NO_LOCK, &opts, &image);
		if (err)
			return err;
		err = lock_and_view(b, cfg, image);
		if (err)
			blk_close(image);
	}
	if (err == -EAGAIN)
		log_error("%s: its snapshots are being changed all the time: try again later",
			  cfg->image);
	else if (!err)
		*out = image;
	return err;
}

static enum exit_status open_fork(struct backends *b, const struct machine_config *cfg,
				  const char *const *allow)
{
	struct blk_node *base;
	int err = open_view(b, cfg, allow, &base);
	if (err)
		return err == -EBUSY ? EXIT_STATUS_IN_USE : EXIT_STATUS_FILE;
	if (blk_overlay(base, NULL, &b->disks[0])) {
		blk_close(base);
		return EXIT_STATUS_FILE;
	}
	b->fork_base = base;
	b->ndisks = 1;
	return EXIT_STATUS_OK;
}

/* -> 0, or -errno (logged). */
static int open_disk(struct backends *b, const struct machine_config *cfg,
		     const struct disk_config *d, const struct blk_open_opts *opts)
{
	unsigned int flags = d->read_only || cfg->throw_away ? 0 : BLK_OPEN_RDWR;
	struct blk_node *node;
	int err = blk_open_with(b->loop, d->path, NULL, flags, opts, &node);
	if (err)
		return err;
	if (cfg->throw_away && !d->read_only) {
		struct blk_node *base = node;
		err = blk_overlay(base, NULL, &node);
		if (err) {
			blk_close(base);
			return err;
		}
	}
	b->disks[b->ndisks++] = node;
	return 0;
}

static enum exit_status open_cdrom(struct backends *b, const char *path)
{
	if (blk_open(b->loop, path, "raw", 0, &b->cdrom))
		return EXIT_STATUS_FILE;
	log_info("CD-ROM %s: %llu MiB", path, (unsigned long long)(blk_size(b->cdrom) >> 20));
	return EXIT_STATUS_OK;
}

static enum exit_status open_disks(struct backends *b, const struct machine_config *cfg)
{
	const char *allow[CONFIG_DISKS_MAX + 1] = { NULL };
	memcpy(allow, cfg->allow_backing, cfg->nallow_backing * sizeof(allow[0]));
	struct blk_open_opts opts = { .allow_backing = allow };
	enum exit_status status =
		cfg->throw_away && cfg->from ? open_fork(b, cfg, allow) : EXIT_STATUS_OK;
	if (status)
		return status;
	for (unsigned int i = b->ndisks; i < cfg->ndisks; i++) {
		const struct disk_config *d = &cfg->disks[i];
		int err = open_disk(b, cfg, d, &opts);
		if (err)
			return err == -EBUSY ? EXIT_STATUS_IN_USE : EXIT_STATUS_FILE;
		log_info("disk %s: %s, %llu MiB%s", d->path, blk_format(b->disks[i]),
			 (unsigned long long)(blk_size(b->disks[i]) >> 20),
			 blk_read_only(b->disks[i]) ? ", read-only" : "");
	}
	return cfg->cdrom ? open_cdrom(b, cfg->cdrom) : EXIT_STATUS_OK;
}

static int bind_ports(struct backends *b, const struct machine_config *cfg)
{
	struct ports_config ports = { .name = cfg->name,
				      .code = cfg->code,
				      .ssh_suffices = cfg->throw_away,
				      .exposed = cfg->exposed };
	for (unsigned int i = 0; i < cfg->nforwards; i++) {
		struct forward_spec spec;
		int err = forward_parse(cfg->forwards[i], &spec);
		err = err ? err : forward_bind(&b->forwards, &spec);
		if (err)
			return err;
	}
	return cfg->transient ? 0 : ports_bind(&ports, &b->forwards, &b->ports);
}

static enum exit_status open_net(struct backends *b, const struct machine_config *cfg)
{
	if (!cfg->net)
		return EXIT_STATUS_OK;
	int err = bind_ports(b, cfg);
	if (err)
		return err == -EINVAL ? EXIT_STATUS_USAGE : EXIT_STATUS_PORT;
	struct slirp_config slirp = {
		.forwards = &b->forwards,
		.hostname = b->record.name,
		.loopback_all = cfg->host_loopback && !cfg->host_loopback_port,
		.loopback_ports = &cfg->host_loopback_port,
		.n_loopback_ports = cfg->host_loopback && cfg->host_loopback_port,
	};
	if (slirp_create(b->loop, &slirp, &b->net))
		return EXIT_STATUS_FAILED;
	if (cfg->pcap && pcap_create(b->loop, cfg->pcap, b->net, &b->net))
		return EXIT_STATUS_FILE;
	return EXIT_STATUS_OK;
}

uint16_t backends_ssh_port(const struct backends *b)
{
	struct list *pos;
	list_for_each (pos, &b->forwards.head) {
		const struct forward *f = list_entry(pos, struct forward, link);
		if (!f->udp && f->guest_port == GUEST_SSH_PORT)
			return ntohs(f->addr.ss_family == AF_INET6
					     ? ((const struct sockaddr_in6 *)&f->addr)->sin6_port
					     : ((const struct sockaddr_in *)&f->addr)->sin_port);
	}
	return 0;
}

/* An imported machine has a login of its own. */
static void find_login(struct backends *b)
{
	struct login l;
	int err = login_dir(b->keys_name, b->record.box);
	err = err ? err : login_load(b->record.box, &l);
	if (!err)
		return;
	if (err != -ENOENT)
		log_warn("how one logs in to '%s' cannot be read in %s: %s", b->keys_name,
			 b->record.box, strerror(-err));
	b->record.box[0] = '\0';
}

static enum exit_status publish(struct backends *b)
{
	b->record.ssh_port = backends_ssh_port(b);
	if (b->have_keys) {
		snprintf(b->record.user_key, sizeof(b->record.user_key), "%s", b->keys.user_key);
		snprintf(b->record.known_hosts, sizeof(b->record.known_hosts), "%s",
			 b->keys.known_hosts);
		find_login(b);
	}
	int err = record_publish(&b->record);
	if (err)
		log_error("cannot write the machine's record %s: %s", b->record.path,
			  strerror(-err));
	return err ? EXIT_STATUS_FAILED : EXIT_STATUS_OK;
}

static enum exit_status open_disks_and_name(struct backends *b, const struct machine_config *cfg)
{
	enum exit_status status = open_disks(b, cfg);
	if (status)
		return status;
	return record_claim(&b->record, cfg->name, cfg->name != cfg->name_buf) ? EXIT_STATUS_FAILED
									       : EXIT_STATUS_OK;
}

enum exit_status backends_open(struct backends *b, const struct machine_config *cfg,
			       struct loop *loop)
{
	*b = (struct backends){ .loop = loop, .record.fd = -1, .fork_fd = -1 };
	forward_list_init(&b->forwards);
	enum exit_status status = open_disks_and_name(b, cfg);
	if (status)
		backends_close(b);
	return status;
}

static void introduce(struct agent *a, const struct backends *b, const struct machine_config *cfg)
{
	enum agent_event event = !cfg->from	   ? AGENT_BOOTED
				 : b->unclaimed	   ? AGENT_FIRST
				 : cfg->throw_away ? AGENT_FORKED
						   : AGENT_RESTORED;
	agent_set_identity(a, event, b->record.name, b->ports.code);
	agent_set_credentials(a, b->credentials.v, b->credentials.n);
}

static enum exit_status open_streams(struct backends *b, const struct machine_config *cfg,
				     const struct chardev_quit *quit)
{
	char path[PATH_MAX];
	int err = cfg->agent ? agent_create(b->loop, &b->agent) : 0;
	if (err)
		log_error("out of memory");
	else if (b->agent)
		introduce(b->agent, b, cfg);
	snprintf(b->console_spec, sizeof(b->console_spec), "%s", cfg->console);
	if (!err && !strcmp(cfg->console, CONFIG_CONSOLE_DETACHED)) {
		err = record_beside(&b->record, ".console", path);
		snprintf(b->console_spec, sizeof(b->console_spec), "socket:%s", path);
	}
	err = err ? err
		  : chardev_open(b->loop, b->console_spec, CHARDEV_CONSOLE, quit, &b->console);
	for (unsigned int i = 0; i < cfg->nchannels && !err; i++)
		err = chardev_open(b->loop, cfg->channels[i].where, CHARDEV_CHANNEL, NULL,
				   &b->channels[i]);
	return !err ? EXIT_STATUS_OK : err == -EINVAL ? EXIT_STATUS_USAGE : EXIT_STATUS_FILE;
}

/*
 * A guest from a snapshot has the host key that it was booted with, whatever this machine is called. One that was nobody's is
 * given one, which throw-away machines of an image share, so that each leaves none behind.
 */
static void name_keys(struct backends *b, const struct machine_config *cfg)
{
	if (b->keys_name[0] && keys_exist(b->keys_name))
		return;
	if (b->unclaimed && cfg->throw_away)
		config_name_after(cfg->image, b->keys_name);
	else
		snprintf(b->keys_name, sizeof(b->keys_name), "%s",
			 cfg->from && !b->unclaimed ? cfg->name : b->record.name);
}

enum exit_status backends_connect(struct backends *b, const struct machine_config *cfg,
				  const struct chardev_quit *quit)
{
	enum exit_status status = open_net(b, cfg);
	if (status)
		return status;
	name_keys(b, cfg);
	b->have_keys = cfg->net && !cfg->transient && !keys_ensure(&b->keys, b->keys_name);
	credentials_of(b, &b->credentials);
	status = publish(b);
	return status ? status : open_streams(b, cfg, quit);
}

enum exit_status backends_close(struct backends *b)
{
	enum exit_status status = EXIT_STATUS_OK;
	if (b->net)
		b->net->ops->destroy(b->net);
	forward_list_fini(&b->forwards);
	agent_destroy(b->agent);
	chardev_close(b->console);
	for (unsigned int i = 0; i < CONFIG_CHANNELS_MAX; i++)
		chardev_close(b->channels[i]);
	for (unsigned int i = 0; i < b->ndisks; i++)
		if (blk_close(b->disks[i]))
			status = EXIT_STATUS_FILE;
	blk_close(b->cdrom);
	blk_close(b->seed);
	snapshot_free(b->from);
	if (b->fork_fd >= 0)
		close(b->fork_fd);
	keys_free(&b->keys);
	record_release(&b->record);
	*b = (struct backends){ .record.fd = -1, .fork_fd = -1 };
	return status;
}
