/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines: what they mean, and what is said to those that mean nothing. */
#include "vmm/config.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/unit/test.h"
#include "vmm/base/checked.h"
#include "vmm/base/options.h"

static struct machine_config cfg;
static char config_dir[64] = "/nonexistent"; /* XDG_CONFIG_HOME */
static char said[1024];			     /* on standard error */

/* Parses a command line given as one string. */
static int parse(const char *line)
{
	static char buf[1024];
	char *argv[32] = { "charmvm" };
	int argc = 1, fds[2], saved = dup(STDERR_FILENO);
	snprintf(buf, sizeof(buf), "%s", line);
	for (char *p = strtok(buf, " "); p; p = strtok(NULL, " "))
		argv[argc++] = p;
	CHECK_EQ(pipe(fds), 0);
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	setenv("XDG_CONFIG_HOME", config_dir, 1);
	config_free(&cfg);
	int err = config_parse(&cfg, argc, argv);
	dup2(saved, STDERR_FILENO);
	close(saved);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	ssize_t n = read(fds[0], said, sizeof(said) - 1);
	said[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	return err;
}

static bool says(const char *what)
{
	return strstr(said, what) != NULL;
}

TEST(an_image_is_all_that_is_needed)
{
	CHECK_EQ(parse("--image dir/charmed311.qcow2"), 0);
	CHECK_STR(cfg.disks[0].path, "dir/charmed311.qcow2");
	CHECK_STR(cfg.name, "charmed311");
	CHECK_EQ(cfg.mem_bytes, GIB);
	CHECK_EQ(cfg.cpus, 1);
	CHECK(cfg.net);
}

TEST(cloud_init_is_told_where_the_image_has_it_unless_said_otherwise)
{
	CHECK_EQ(parse("-i a"), 0);
	CHECK(cfg.cloud_init == CLOUD_INIT_AUTO && !cfg.cloud_init_given);
	CHECK_EQ(parse("-i a --cloud-init on"), 0);
	CHECK(cfg.cloud_init == CLOUD_INIT_ON && cfg.cloud_init_given);
	CHECK_EQ(parse("-i a --cloud-init=off"), 0);
	CHECK(cfg.cloud_init == CLOUD_INIT_OFF && cfg.cloud_init_given);
	/* As if nothing had been said: a snapshot may have its word. */
	CHECK_EQ(parse("-i a --cloud-init auto"), 0);
	CHECK(cfg.cloud_init == CLOUD_INIT_AUTO && !cfg.cloud_init_given);
	CHECK_EQ(parse("-i a --cloud-init yes"), -EINVAL);
	CHECK(says("--cloud-init yes: 'auto'"));
}

TEST(user_data_is_for_a_cloud_init_that_is_there)
{
	CHECK_EQ(parse("-i a --user-data mine.yaml"), 0);
	CHECK_STR(cfg.user_data, "mine.yaml");
	CHECK(cfg.cloud_init == CLOUD_INIT_AUTO);
	CHECK_EQ(parse("-i a --user-data mine.yaml --cloud-init off"), -EINVAL);
	CHECK(says("leave out --cloud-init off"));
}

TEST(d_is_short_for_detach)
{
	CHECK_EQ(parse("-i a -d"), 0);
	CHECK(cfg.detach && cfg.ndisks == 1);
	CHECK_EQ(parse("-i a -d b.raw"), -EINVAL);
}

TEST(image_is_the_first_disk_wherever_it_stands)
{
	CHECK_EQ(parse("--disk a.raw,ro --disk b.raw --image=c.qcow2"), 0);
	CHECK_EQ(cfg.ndisks, 3);
	CHECK_STR(cfg.disks[0].path, "c.qcow2");
	CHECK_STR(cfg.disks[1].path, "a.raw");
	CHECK(cfg.disks[1].read_only && !cfg.disks[2].read_only);
}

TEST(words_after_a_disk_are_its_own)
{
	CHECK_EQ(parse("--disk a,,b.raw,on-error=stop,ro --disk b.raw,on-error=report --disk c,, "
		       "-i d"),
		 0);
	CHECK_STR(cfg.disks[1].path, "a,b.raw");
	CHECK(cfg.disks[1].read_only && cfg.disks[1].on_error == VIRTIO_BLK_STOP);
	CHECK(!cfg.disks[2].read_only && cfg.disks[2].on_error == VIRTIO_BLK_REPORT);
	CHECK_STR(cfg.disks[3].path, "c,");
	CHECK_EQ(cfg.disks[0].on_error, VIRTIO_BLK_STOP_WHEN_FULL);
	CHECK_EQ(parse("--disk a,rw"), -EINVAL);
	CHECK(says("'rw' may not follow"));
	CHECK_EQ(parse("--disk a,"), -EINVAL);
	CHECK_EQ(parse("--disk a,on-error=explode"), -EINVAL);
}

TEST(disks_without_a_word_of_their_own_follow_the_option)
{
	CHECK_EQ(parse("-i a --on-disk-error stop --disk b,on-error=report"), 0);
	CHECK_EQ(cfg.disks[0].on_error, VIRTIO_BLK_STOP);
	CHECK_EQ(cfg.disks[1].on_error, VIRTIO_BLK_REPORT);
	CHECK_EQ(parse("-i a --on-disk-error sometimes"), -EINVAL);
	CHECK(says("--on-disk-error sometimes"));
}

TEST(sizes_are_binary_and_checked)
{
	uint64_t v;
	CHECK_EQ(options_parse_size("2G", &v), 0);
	CHECK_EQ(v, 2 * GIB);
	CHECK_EQ(options_parse_size("64MiB", &v), 0);
	CHECK_EQ(v, 64 * MIB);
	CHECK_EQ(options_parse_size("17", &v), 0);
	CHECK_EQ(v, 17);
	static const char *const bad[] = {
		"", "G", "-1", "1X", "1GG", "99999999999E", "0x10", "1 G"
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_EQ(options_parse_size(bad[i], &v), -EINVAL);
}

TEST(too_little_and_too_much_memory_are_refused)
{
	CHECK_EQ(parse("-i x --mem 10K"), -EINVAL);
	CHECK(says("at least 64M"));
	CHECK_EQ(parse("-i x --mem 900T"), -EINVAL);
	CHECK(says("more than this host has"));
	CHECK_EQ(parse("-i x --mem lots"), -EINVAL);
	CHECK(says("not a size"));
}

TEST(impossible_numbers_of_vcpus_are_refused)
{
	CHECK_EQ(parse("-i x --cpus 0"), -EINVAL);
	CHECK(says("1 to 64"));
	CHECK_EQ(parse("-i x --cpus 65"), -EINVAL);
	CHECK_EQ(parse("-i x --cpus 64"), 0);
}

TEST(unknown_option_suggests_the_nearest)
{
	CHECK_EQ(parse("--imgae x"), -EINVAL);
	CHECK(says("unknown option --imgae; did you mean --image?"));
	CHECK_EQ(parse("--xylophone"), -EINVAL);
	CHECK(says("see charmvm --help"));
}

TEST(option_without_its_value_says_what_it_wants)
{
	CHECK_EQ(parse("--image"), -EINVAL);
	CHECK(says("--image needs a value: --image FILE"));
	CHECK_EQ(parse("-i x --verbose=3"), -EINVAL);
	CHECK(says("takes no value"));
}

TEST(word_that_is_no_option_explains_how_to_start)
{
	CHECK_EQ(parse("disk.qcow2 -v"), -EINVAL);
	CHECK(says("charmvm --image disk.qcow2"));
}

TEST(nothing_to_boot_is_an_error)
{
	CHECK_EQ(parse("--mem 1G"), -EINVAL);
	CHECK(says("nothing to boot"));
	CHECK_EQ(parse("-i x --initrd y"), -EINVAL);
	CHECK(says("--initrd needs --kernel"));
}

TEST(every_complaint_is_one_line)
{
	static const char *const bad[] = { "--imgae x", "--mem", "-i x --mem 1", "-i x --net tap",
					   "-i x -i y" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK_EQ(parse(bad[i]), -EINVAL);
		CHECK(strchr(said, '\n') == said + strlen(said) - 1);
	}
}

/* ---- configuration files ---- */

static void write_file(const char *name, const char *text)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/charmvm/%s", config_dir, name);
	FILE *f = fopen(path, "w");
	CHECK(f);
	fputs(text, f);
	fclose(f);
}

static void make_config_dir(void)
{
	char path[128];
	snprintf(config_dir, sizeof(config_dir), "/tmp/config-XXXXXX");
	CHECK(mkdtemp(config_dir));
	snprintf(path, sizeof(path), "mkdir -p %s/charmvm/machines", config_dir);
	CHECK_EQ(system(path), 0);
}

static void remove_config_dir(void)
{
	char command[128];
	config_free(&cfg);
	snprintf(command, sizeof(command), "rm -rf %s", config_dir);
	CHECK_EQ(system(command), 0);
	snprintf(config_dir, sizeof(config_dir), "/nonexistent");
}

TEST(command_line_wins_over_the_machines_file_and_that_over_the_users)
{
	make_config_dir();
	write_file("config",
		   "# for all\nmem = 256M\ncpus=2\n  cpu = baseline  \nforward = 8081:81\n");
	write_file("machines/x.conf", "cpus = 3\n\nforward = 8080:80\n");
	CHECK_EQ(parse("-i x.qcow2 --mem 128M"), 0);
	CHECK_EQ(cfg.mem_bytes, 128 * MIB);
	CHECK_EQ(cfg.cpus, 3);
	CHECK_EQ(cfg.cpu, X86_CPU_BASELINE);
	CHECK_EQ(cfg.nforwards, 2);
	CHECK_STR(cfg.forwards[0], "8080:80");
	CHECK_STR(cfg.forwards[1], "8081:81");
	CHECK(cfg.mem_given && !cfg.cpus_given); /* a snapshot's own number wins over a file's */
	CHECK_EQ(parse("-i y.qcow2"), 0);
	CHECK_EQ(cfg.mem_bytes, 256 * MIB);
	CHECK_EQ(cfg.cpus, 2);
	remove_config_dir();
}

TEST(flags_in_a_file_are_yes_or_no)
{
	make_config_dir();
	write_file("config", "detach = yes\nno-wait = no\n");
	CHECK_EQ(parse("-i x"), 0);
	CHECK(cfg.detach && cfg.wait);
	write_file("config", "detach = perhaps\n");
	CHECK_EQ(parse("-i x"), -EINVAL);
	CHECK(says("config:1: 'detach': yes or no is wanted"));
	remove_config_dir();
}

TEST(wrong_lines_of_a_file_are_told_with_their_number)
{
	make_config_dir();
	write_file("config", "mem = 256M\n\nmemm = 2G\n");
	CHECK_EQ(parse("-i x"), -EINVAL);
	CHECK(says("config:3: there is no key 'memm'; did you mean 'mem'?"));
	write_file("config", "image = /etc/passwd\n"); /* on the command line only */
	CHECK_EQ(parse("-i x"), -EINVAL);
	CHECK(says("config:1: 'image': there is no such key"));
	write_file("config", "cpus\n");
	CHECK_EQ(parse("-i x"), -EINVAL);
	CHECK(says("config:1: 'cpus': a line is key = value"));
	write_file("config", "\ncpus = 0\n");
	CHECK_EQ(parse("-i x"), -EINVAL);
	CHECK(says("--cpus 0") && says("config:2: that is in this line"));
	remove_config_dir();
}

TEST(throw_away_machine_is_as_its_snapshot_and_not_as_a_file_says)
{
	make_config_dir();
	write_file("config", "forward = 8081:81\nmem = 256M\n");
	CHECK_EQ(parse("-i x --from s --throw-away"), 0);
	CHECK_EQ(cfg.nforwards, 0);
	CHECK_EQ(cfg.mem_bytes, GIB);
	remove_config_dir();
}

TEST(firmware_is_one_of_three_and_a_bios_takes_no_kernel)
{
	CHECK_EQ(parse("-i x"), 0);
	CHECK_EQ(cfg.firmware, CONFIG_FIRMWARE_AUTO);
	CHECK_EQ(parse("-i x --firmware none"), 0);
	CHECK_EQ(cfg.firmware, CONFIG_FIRMWARE_NONE);
	CHECK_EQ(parse("-i x --firmware bios"), 0);
	CHECK_EQ(cfg.firmware, CONFIG_FIRMWARE_BIOS);
	CHECK_EQ(parse("-i x --firmware uefi"), -EINVAL);
	CHECK(says("--firmware uefi: 'bios'"));
	CHECK_EQ(parse("-i x --firmware bios --kernel k"), -EINVAL);
	CHECK(says("leave out --kernel and --append"));
	CHECK_EQ(parse("-i x --firmware bios --append quiet"), -EINVAL);
	CHECK(says("leave out --kernel and --append"));
	CHECK_EQ(parse("--cdrom dir/debian-12.iso"), 0); /* enough for a BIOS */
	CHECK_STR(cfg.name, "debian-12");
	CHECK_EQ(parse("--cdrom x.iso --firmware none"), -EINVAL);
	CHECK(says("nothing to boot"));
}

TEST_MAIN(T(an_image_is_all_that_is_needed),
	  T(cloud_init_is_told_where_the_image_has_it_unless_said_otherwise),
	  T(user_data_is_for_a_cloud_init_that_is_there), T(d_is_short_for_detach),
	  T(image_is_the_first_disk_wherever_it_stands), T(words_after_a_disk_are_its_own),
	  T(disks_without_a_word_of_their_own_follow_the_option), T(sizes_are_binary_and_checked),
	  T(too_little_and_too_much_memory_are_refused), T(impossible_numbers_of_vcpus_are_refused),
	  T(unknown_option_suggests_the_nearest), T(option_without_its_value_says_what_it_wants),
	  T(word_that_is_no_option_explains_how_to_start), T(nothing_to_boot_is_an_error),
	  T(every_complaint_is_one_line),
	  T(command_line_wins_over_the_machines_file_and_that_over_the_users),
	  T(flags_in_a_file_are_yes_or_no), T(wrong_lines_of_a_file_are_told_with_their_number),
	  T(throw_away_machine_is_as_its_snapshot_and_not_as_a_file_says),
	  T(firmware_is_one_of_three_and_a_bios_takes_no_kernel))
