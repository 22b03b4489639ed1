/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What machine the user asked for, from the command line into one struct. Parsed once, here; devices
 * and backends never see an option string. All strings point into argv or @texts, or are constants.
 */
#ifndef VMM_CONFIG_H
#define VMM_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/net/ports.h"
#include "devices/virtio/virtio_blk.h"
#include "vmm/x86/cpu_model.h"

#define CONFIG_MEM_MIN_BYTES (UINT64_C(64) << 20)

enum {
	CONFIG_DISKS_MAX = 16,
	CONFIG_FORWARDS_MAX = 64,
	CONFIG_CHANNELS_MAX = 7,
	CONFIG_CPUS_MAX = 64,
	CONFIG_NAME_MAX = 64,
};

/* The console of a machine in the background: a socket beside its record. */
#define CONFIG_CONSOLE_DETACHED "detached"

/* The disk that tells a guest's cloud-init what it needs to know (vmm/cloud_init.h). */
enum config_cloud_init {
	CLOUD_INIT_AUTO, /* where the image that is booted has cloud-init */
	CLOUD_INIT_ON,
	CLOUD_INIT_OFF,
};

/* What starts the guest. */
enum config_firmware {
	CONFIG_FIRMWARE_AUTO, /* we, or a BIOS where no kernel is found in the image */
	CONFIG_FIRMWARE_NONE, /* we */
	CONFIG_FIRMWARE_BIOS,
};

struct disk_config {
	const char *path;
	bool read_only;
	enum virtio_blk_on_error on_error;
};

/* A stream of bytes to the guest: /dev/virtio-ports/NAME there, @where on the host. */
struct channel_config {
	const char *name;
	const char *where; /* as --console has it, but not the terminal */
};

struct machine_config {
	/* disks[0] is the one of --image where it was given: it is looked into for a kernel. */
	struct disk_config disks[CONFIG_DISKS_MAX];
	unsigned int ndisks;
	const char *image;
	const char *name; /* the image's without its ending, unless --name */
	char name_buf[CONFIG_NAME_MAX + 1];

	enum virtio_blk_on_error on_disk_error; /* for disks that have no word of their own */

	uint64_t mem_bytes;
	unsigned int cpus;
	enum x86_cpu_model cpu; /* what its vCPUs can do */
	/* On the command line; else a snapshot says. */
	bool mem_given, cpus_given, net_given, agent_given, cloud_init_given;
	bool mem_said, cpus_said; /* there or in a configuration file; else an image may ask */

	const char *cdrom; /* an ISO image in a drive, or NULL */

	const char *from; /* a snapshot of the image to start from, or NULL: a boot */
	bool throw_away; /* no disk is written, what the guest writes is gone; with @from, others may use the image */
	bool discard; /* what the disk has and no snapshot has may be dropped for it */

	enum config_firmware firmware;
	const char *kernel;
	const char *initrd;
	const char
		*append; /* added to the image's own command line; the whole of it with --kernel */

	enum config_cloud_init cloud_init;
	const char *user_data; /* a file of the user's own for cloud-init, or NULL */

	bool net;
	const char *forwards[CONFIG_FORWARDS_MAX];
	unsigned int nforwards;
	unsigned int code; /* of the port set, or 0: by the name */
	struct ports_exposed exposed;
	bool host_loopback;
	uint16_t host_loopback_port; /* 0: every port */
	const char *pcap;

	const char *allow_backing[CONFIG_DISKS_MAX];
	unsigned int nallow_backing;

	const char *console; /* "stdio", "file:PATH", "socket:PATH", "none", or _DETACHED */
	struct channel_config channels[CONFIG_CHANNELS_MAX];
	unsigned int nchannels;
	bool agent;  /* a port for the agent in the guest */
	bool cold;   /* a suspended image is booted all the same */
	bool detach; /* in the background, once it runs */
	bool wait;   /* and then until SSH answers */
	bool json;   /* and what is said then is JSON */
	unsigned int verbose;

	/* Of charmvm run and build: the command's own machine. It has no keys, no ports but those asked for, and resumes nothing. */
	bool transient;
	bool nobodys; /* what is saved of it is nobody's machine: whoever starts from there gets keys of his own */
	int agent_client; /* a connected socket: the agent's first client; -1: none */
	int leash;	  /* the machine ends when the other end of this pipe is closed; -1: none */
	bool version;

	char *texts[2]; /* of configuration files, which strings here may be part of */
};

/* -> 0, 1 (help or version printed: nothing more to do), -EINVAL (one line logged). */
int config_parse(struct machine_config *cfg, int argc, char **argv);

/* Frees what it holds; no string of it is used any more. */
void config_free(struct machine_config *cfg);

/* What the machine of the image @path is called: "dir/charmed311.qcow2" is charmed311. */
void config_name_after(const char *path, char out[CONFIG_NAME_MAX + 1]);
/* The file that a machine without --name has its name from, or NULL: there is nothing to boot. */
const char *config_named_after(const struct machine_config *cfg);
/* May a machine be called that? */
bool config_name_ok(const char *name);

struct command_spec;

/*
 * The same for a command that starts a machine in its own way and has options of its own beside those: @cmd's functions are
 * given what @cfg is the first member of. *rest: the first word behind "--", or argc.
 */
int config_parse_as(const struct command_spec *cmd, struct machine_config *cfg, int argc,
		    char **argv, int *rest);

#endif
