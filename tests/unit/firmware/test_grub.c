/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grub.cfg as distributions write it, on a disk of a few strings: "hd0,gpt1" has the files of the
 * test, and nothing else exists.
 */
#include "firmware/grub.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "tests/unit/test.h"
#include "vmm/base/checked.h"

struct file {
	const char *path, *text;
};

struct disk {
	struct file files[16];
	unsigned int looks;
};

static const struct file *find(struct disk *d, const char *dev, const char *path)
{
	d->looks++;
	if (strcmp(dev, "hd0,gpt1"))
		return NULL;
	for (const struct file *f = d->files; f->path; f++)
		if (!strcmp(f->path, path))
			return f;
	return NULL;
}

static int read_cb(void *opaque, const char *dev, const char *path, char **text, size_t *len)
{
	const struct file *f = find(opaque, dev, path);
	if (!f)
		return -ENOENT;
	*text = strdup(f->text);
	*len = strlen(f->text);
	return 0;
}

static bool is_file_cb(void *opaque, const char *dev, const char *path, bool nonempty)
{
	const struct file *f = find(opaque, dev, path);
	return f && (!nonempty || *f->text);
}

static bool is_dir_cb(void *opaque, const char *dev, const char *path)
{
	struct disk *d = opaque;
	size_t n = strlen(path);
	for (const struct file *f = d->files; f->path; f++)
		if (!strcmp(dev, "hd0,gpt1") && !strncmp(f->path, path, n) && f->path[n] == '/')
			return true;
	return false;
}

static int list_cb(void *opaque, const char *dev, const char *path,
		   void (*each)(void *arg, const char *name), void *arg)
{
	struct disk *d = opaque;
	size_t n = strlen(path);
	if (!is_dir_cb(d, dev, path))
		return -ENOENT;
	for (const struct file *f = d->files; f->path; f++)
		if (!strncmp(f->path, path, n) && f->path[n] == '/')
			each(arg, f->path + n + 1);
	return 0;
}

static bool search_cb(void *opaque, enum grub_search by, const char *what, char dev[GRUB_DEV_CHARS])
{
	bool found = by == GRUB_SEARCH_UUID    ? !strcmp(what, "root-uuid")
		     : by == GRUB_SEARCH_LABEL ? !strcmp(what, "root-label")
					       : is_file_cb(opaque, "hd0,gpt1", what, false);
	if (found)
		strcpy(dev, "hd0,gpt1");
	return found;
}

static const struct grub_ops ops = { read_cb, is_file_cb, is_dir_cb, list_cb, search_cb };

static int choose(struct disk *d, struct grub_choice *c)
{
	return grub_choose(&ops, d, "hd0,gpt1", "/boot/grub", c);
}

/* What the script of one test chooses. */
static struct grub_choice chosen(const char *cfg)
{
	struct disk d = { .files = { { "/boot/grub/grub.cfg", cfg } } };
	struct grub_choice c;
	CHECK_EQ(choose(&d, &c), 0);
	return c;
}

static int error_of(const char *cfg)
{
	struct disk d = { .files = { { "/boot/grub/grub.cfg", cfg } } };
	struct grub_choice c;
	return choose(&d, &c);
}

#define HEADER                                                                                     \
	"if [ -s $prefix/grubenv ]; then\n"                                                        \
	"  set have_grubenv=true\n"                                                                \
	"  load_env\n"                                                                             \
	"fi\n"                                                                                     \
	"if [ \"${next_entry}\" ] ; then\n"                                                        \
	"   set default=\"${next_entry}\"\n"                                                       \
	"   set next_entry=\n"                                                                     \
	"   save_env next_entry\n"                                                                 \
	"   set boot_once=true\n"                                                                  \
	"else\n"                                                                                   \
	"   set default=\"%s\"\n"                                                                  \
	"fi\n"                                                                                     \
	"if [ x\"${feature_menuentry_id}\" = xy ]; then\n"                                         \
	"  menuentry_id_option=\"--id\"\n"                                                         \
	"else\n"                                                                                   \
	"  menuentry_id_option=\"\"\n"                                                             \
	"fi\n"                                                                                     \
	"export menuentry_id_option\n"                                                             \
	"function load_video {\n"                                                                  \
	"  if [ x$feature_all_video_module = xy ]; then\n"                                         \
	"    insmod all_video\n"                                                                   \
	"  else\n"                                                                                 \
	"    insmod efi_gop\n"                                                                     \
	"  fi\n"                                                                                   \
	"}\n"                                                                                      \
	"if loadfont $font ; then\n"                                                               \
	"  set gfxmode=auto\n"                                                                     \
	"fi\n"

/* The body of an entry of Debian's for kernel version V. */
#define BODY(v)                                                                                    \
	"\tload_video\n"                                                                           \
	"\tinsmod gzio\n"                                                                          \
	"\tif [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi\n"                   \
	"\tset root='hd3,gpt7'\n"                                                                  \
	"\tif [ x$feature_platform_search_hint = xy ]; then\n"                                     \
	"\t  search --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt1 --hint hd1,gpt9 "        \
	"root-uuid\n"                                                                              \
	"\telse\n"                                                                                 \
	"\t  search --no-floppy --fs-uuid --set=root root-uuid\n"                                  \
	"\tfi\n"                                                                                   \
	"\techo\t'Loading Linux " v " ...'\n"                                                      \
	"\tlinux\t/boot/vmlinuz-" v " root=UUID=root-uuid ro  quiet\n"                             \
	"\techo\t'Loading initial ramdisk ...'\n"                                                  \
	"\tinitrd\t/boot/initrd.img-" v "\n"

#define DEBIAN_MENU                                                                                \
	"menuentry 'Debian GNU/Linux' --class debian --class gnu $menuentry_id_option "            \
	"'gnulinux-simple-U' {\n" BODY(                                                            \
		"6.1.0-13-amd64") "}\n"                                                            \
				  "submenu 'Advanced options for Debian GNU/Linux' "               \
				  "$menuentry_id_option "                                          \
				  "'gnulinux-advanced-U' {\n"                                      \
				  "\tmenuentry 'Debian GNU/Linux, with Linux 6.1.0-13-amd64' "     \
				  "--class debian "                                                \
				  "$menuentry_id_option 'gnulinux-6.1.0-13-amd64-advanced-U' "     \
				  "{\n" BODY(                                                      \
					  "6.1.0-13-amd64") "\t}\n"                                \
							    "\tmenuentry 'Debian GNU/Linux, with " \
							    "Linux 6.1.0-9-amd64' --class debian " \
							    "$menuentry_id_option "                \
							    "'gnulinux-6.1.0-9-amd64-advanced-U' " \
							    "{\n" BODY(                            \
								    "6.1.0-9-amd64") "\t}\n"       \
										     "}\n"         \
										     "menuentry "  \
										     "'UEFI "      \
										     "Firmware "   \
										     "Settings' "  \
										     "$menuentry_" \
										     "id_option "  \
										     "'uefi-"      \
										     "firmware' "  \
										     "{\n"         \
										     "\tfwsetup\n" \
										     "}\n"

static struct grub_choice debian(const char *def, const char *grubenv)
{
	static char cfg[16384];
	snprintf(cfg, sizeof(cfg), HEADER DEBIAN_MENU, def);
	struct disk d = { .files = { { "/boot/grub/grub.cfg", cfg },
				     { grubenv ? "/boot/grub/grubenv" : NULL, grubenv } } };
	struct grub_choice c;
	CHECK_EQ(choose(&d, &c), 0);
	return c;
}

TEST(debian_boots_its_first_entry)
{
	struct grub_choice c = debian("0", NULL);
	CHECK_STR(c.title, "Debian GNU/Linux");
	CHECK_STR(c.kernel.dev, "hd0,gpt1");
	CHECK_STR(c.kernel.path, "/boot/vmlinuz-6.1.0-13-amd64");
	CHECK_STR(c.args, "root=UUID=root-uuid ro quiet");
	CHECK_EQ(c.ninitrds, 1);
	CHECK_STR(c.initrds[0].path, "/boot/initrd.img-6.1.0-13-amd64");
}

TEST(default_may_be_a_number_an_id_a_title_or_a_path_of_them)
{
	static const char *const old[] = {
		"1>1",
		"gnulinux-advanced-U>gnulinux-6.1.0-9-amd64-advanced-U",
		"Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.1.0-9-amd64",
		"1>gnulinux-6.1.0-9-amd64-advanced-U",
	};
	for (size_t i = 0; i < ARRAY_SIZE(old); i++)
		CHECK_STR(debian(old[i], NULL).kernel.path, "/boot/vmlinuz-6.1.0-9-amd64");
	CHECK_STR(debian("1", NULL).title, "Debian GNU/Linux, with Linux 6.1.0-13-amd64");
	CHECK_STR(debian("gnulinux-simple-U", NULL).title, "Debian GNU/Linux");
	CHECK_STR(debian("no such entry", NULL).title, "Debian GNU/Linux");
	CHECK_STR(debian("77", NULL).title, "Debian GNU/Linux");
}

TEST(saved_and_one_time_entries_come_from_grubenv)
{
	CHECK_STR(debian("${saved_entry}", "# GRUB Environment Block\nsaved_entry=1>1\n####")
			  .kernel.path,
		  "/boot/vmlinuz-6.1.0-9-amd64");
	CHECK_STR(debian("0", "# GRUB Environment Block\nnext_entry=1>1\n####").kernel.path,
		  "/boot/vmlinuz-6.1.0-9-amd64");
	CHECK_STR(debian("${saved_entry}", "not an environment block\nsaved_entry=1>1\n").title,
		  "Debian GNU/Linux");
}

TEST(default_entry_without_linux_is_not_followed)
{
	static char cfg[16384];
	snprintf(cfg, sizeof(cfg), HEADER DEBIAN_MENU, "uefi-firmware");
	CHECK_EQ(error_of(cfg), -ENOENT);
	CHECK_EQ(error_of(""), -ENOENT);
	CHECK_EQ(error_of("menuentry x { chainloader +1 }"), -ENOENT);
}

TEST(ubuntu_cloud_image_starts_without_initrd_unless_that_failed)
{
	static const char cfg[] =
		"function gfxmode {\n\tset gfxpayload=\"${1}\"\n"
		"\tif [ \"${1}\" = \"keep\" ]; then\n\t\tset vt_handoff=vt.handoff=7\n"
		"\telse\n\t\tset vt_handoff=\n\tfi\n}\n"
		"if [ \"${recordfail}\" != 1 ]; then\n"
		"  if [ -e ${prefix}/gfxblacklist.txt ]; then\n"
		"    if [ ${grub_platform} != pc ]; then set linux_gfx_mode=keep\n"
		"    elif hwmatch ${prefix}/gfxblacklist.txt 3; then\n"
		"      if [ ${match} = 0 ]; then set linux_gfx_mode=keep; else set "
		"linux_gfx_mode=text; fi\n"
		"    else set linux_gfx_mode=text; fi\n"
		"  else\n    set linux_gfx_mode=keep\n  fi\n"
		"else\n  set linux_gfx_mode=text\nfi\nexport linux_gfx_mode\n"
		"load_env initrdfail\n"
		"menuentry 'Ubuntu' --class ubuntu --id 'simple' {\n"
		"\tgfxmode $linux_gfx_mode\n"
		"\tsearch.fs_label root-label root hd0,gpt1\n"
		"\tif [ \"${initrdfail}\" = 1 ]; then\n"
		"\t  linux /boot/vmlinuz-6.8 root=LABEL=root-label ro console=ttyS0\n"
		"\t  initrd /boot/initrd.img-6.8\n"
		"\telse\n"
		"\t  linux /boot/vmlinuz-6.8 root=PARTUUID=aa ro $vt_handoff panic=-1\n"
		"\tfi\n\tinitrdfail\n}\n";
	struct grub_choice c = chosen(cfg);
	CHECK_STR(c.args, "root=PARTUUID=aa ro vt.handoff=7 panic=-1");
	CHECK_EQ(c.ninitrds, 0);
	struct disk d = { .files = { { "/boot/grub/grub.cfg", cfg },
				     { "/boot/grub/grubenv",
				       "# GRUB Environment Block\ninitrdfail=1\n##" } } };
	CHECK_EQ(choose(&d, &c), 0);
	CHECK_STR(c.args, "root=LABEL=root-label ro console=ttyS0");
	CHECK_EQ(c.ninitrds, 1);
}

#define FEDORA_CFG                                                                                 \
	"if [ -f ${config_directory}/grubenv ]; then\n"                                            \
	"  load_env -f ${config_directory}/grubenv\n"                                              \
	"elif [ -s $prefix/grubenv ]; then\n  load_env\nfi\n"                                      \
	"if [ \"${next_entry}\" ] ; then\n   set default=\"${next_entry}\"\n"                      \
	"else\n   set default=\"${saved_entry}\"\nfi\n"                                            \
	"set root='hd0,gpt9'\n"                                                                    \
	"search --no-floppy --fs-uuid --set=root --hint='hd0,gpt9' root-uuid\n"                    \
	"if [ -z \"${kernelopts}\" ]; then\n  set kernelopts=\"root=UUID=fff ro \"\nfi\n"          \
	"insmod blscfg\nblscfg\n"                                                                  \
	"if [ -n \"${boot_counter}\" -a \"${boot_success}\" != \"1\" ]; then\n"                    \
	"  set default=1\nfi\n"

static struct grub_choice fedora(const char *grubenv)
{
	struct disk d = { .files = {
				  { "/boot/grub/grub.cfg", FEDORA_CFG },
				  { "/boot/grub/grubenv", grubenv },
				  { "/loader/entries/abc-6.2.9-200.fc37.x86_64.conf",
				    "title Fedora (6.2.9)\nversion 6.2.9\nlinux /vmlinuz-6.2.9\n"
				    "initrd /initramfs-6.2.9.img $tuned_initrd\noptions "
				    "$kernelopts rhgb\n" },
				  { "/loader/entries/abc-6.2.15-200.fc37.x86_64.conf",
				    "# comment\ntitle   Fedora (6.2.15)\nversion "
				    "6.2.15\nlinux\t/vmlinuz-6.2.15\n"
				    "initrd /initramfs-6.2.15.img\noptions ${kernelopts}\noptions "
				    "quiet\n" },
				  { "/loader/entries/abc-0-rescue.conf",
				    "title Rescue\nversion 0-rescue\nlinux "
				    "/vmlinuz-0-rescue\noptions r\n" },
				  { "/loader/entries/README", "linux /no\n" },
				  { "/loader/entries/zzz.conf",
				    "title without a kernel\nefi /x.efi\n" },
			  } };
	struct grub_choice c;
	CHECK_EQ(choose(&d, &c), 0);
	return c;
}

TEST(fedora_boots_the_newest_entry_or_the_saved_one)
{
	struct grub_choice c = fedora("# GRUB Environment Block\nkernelopts=root=UUID=eee ro\n###");
	CHECK_STR(c.title, "Fedora (6.2.15)");
	CHECK_STR(c.kernel.dev, "hd0,gpt1");
	CHECK_STR(c.kernel.path, "/vmlinuz-6.2.15");
	CHECK_STR(c.initrds[0].path, "/initramfs-6.2.15.img");
	CHECK_STR(c.args, "root=UUID=eee ro quiet");
	c = fedora("# GRUB Environment Block\nsaved_entry=abc-6.2.9-200.fc37.x86_64\n###");
	CHECK_STR(c.kernel.path, "/vmlinuz-6.2.9");
	CHECK_EQ(c.ninitrds, 1);
	CHECK_STR(c.args, "root=UUID=fff ro  rhgb");
	c = fedora("# GRUB Environment Block\nboot_counter=0\nboot_success=0\n###");
	CHECK_STR(c.kernel.path, "/vmlinuz-6.2.9");
}

TEST(arch_has_two_initrds_and_systemd_boot_entries_sort_by_key)
{
	struct grub_choice c = chosen(
		"set default=0\nmenuentry 'Arch Linux' --class arch $menuentry_id_option 'x' {\n"
		"  search --label --set root root-label\n"
		"  linux /boot/vmlinuz-linux root=UUID=root-uuid rw  loglevel=3 \"a b=c d\"\n"
		"  initrd  /boot/amd-ucode.img /boot/initramfs-linux.img\n}\n");
	CHECK_EQ(c.ninitrds, 2);
	CHECK_STR(c.initrds[1].path, "/boot/initramfs-linux.img");
	CHECK_STR(c.args, "root=UUID=root-uuid rw loglevel=3 \"a b=c d\"");

	struct disk d = { .files = {
				  { "/loader/entries/zz.conf", "linux /z\nversion 9\n" },
				  { "/loader/entries/b.conf",
				    "sort-key a\nversion 6.2\nlinux /b\n" },
				  { "/loader/entries/c.conf",
				    "sort-key a\nversion 6.10\nlinux c\noptions x $y\n" },
				  { "/loader/entries/d.conf", "sort-key b\nversion 7\nlinux /d\n" },
			  } };
	CHECK_EQ(grub_choose_bls(&ops, &d, "hd0,gpt1", "/loader/entries", &c), 0);
	CHECK_STR(c.kernel.path, "/c");
	CHECK_EQ(grub_choose_bls(&ops, &d, "hd0,gpt1", "/nothing", &c), -ENOENT);
}

TEST(words_are_split_and_quoted_as_in_a_shell)
{
	CHECK_STR(chosen("set args=\"a  b c\"\nset none=\nif [ \"$none\" ]; then set args=no; fi\n"
			 "linux /k $args $none x$args; linux16\n")
			  .args,
		  "a b c xa b c");
	CHECK_STR(chosen("linux /k \"q\\\"; menuentry {\\\" r\" 'a\\' # ; linux /no\n").args,
		  "\"q\"; menuentry {\" r\" a\\");
	CHECK_STR(chosen("linux /k a\\\n b\\ c a#b ${args}d$\n").args, "a \"b c\" a#b d$");
}

TEST(title_with_an_arrow_is_named_with_two)
{
	struct grub_choice c = chosen("set default=\"a >> b>y > z\"\n"
				      "menuentry 'a ' { linux /1; }\n"
				      "submenu 'a > b' { menuentry x { linux /2; }\n"
				      "menuentry y { linux /3; } }\n");
	CHECK_STR(c.kernel.path, "/2"); /* the first: there is no "y " */
	CHECK_STR(chosen("set default='a >> b>y'\nmenuentry 'a ' { linux /1; }\n"
			 "submenu 'a > b' { menuentry x { linux /2; }\n"
			 "menuentry y { linux /3; } }\n")
			  .kernel.path,
		  "/3");
}

TEST(loops_functions_and_sourced_files_work)
{
	CHECK_STR(chosen("for v in 1 2 3; do set x=\"$x$v\"; if [ $v = 2 ]; then break; fi; done\n"
			 "while [ \"$n\" != aaa ]; do n=a$n; done\n"
			 "until test \"$m\" = b; do set m=b; done\n"
			 "function f { set y=\"$1-$#-$@\"; return; set y=no; }\nf p q\n"
			 "linux /k x=$x n=$n m=$m y=\"$y\" $nothing '$x' \\$x \"${x}\"$")
			  .args,
		  "x=12 n=aaa m=b \"y=p-2-p q\" $x $x 12$");
	struct disk d = {
		.files = { { "/boot/grub/grub.cfg", "if source $prefix/no.cfg; then set bad=1; fi\n"
						    "source (hd0,gpt1)/boot/grub/custom.cfg\n"
						    "linux /k $c $bad" },
			   { "/boot/grub/custom.cfg", "set c=custom\nreturn\nset c=no" } }
	};
	struct grub_choice c;
	CHECK_EQ(choose(&d, &c), 0);
	CHECK_STR(c.args, "custom");
}

TEST(test_command)
{
	static const struct {
		const char *condition;
		bool result;
	} cases[] = {
		{ "[ a ]", true },
		{ "[ \"\" ]", false },
		{ "[ ]", false },
		{ "[ ! \"\" ]", true },
		{ "[ a = a ]", true },
		{ "[ a != a ]", false },
		{ "[ 10 -gt 9 ]", true },
		{ "[ 10 > 9 ]", false },
		{ "[ -z \"$no\" -a -n x ]", true },
		{ "[ -z x -o a = a ]", true },
		{ "[ -z x -o a = b ]", false },
		{ "[ -f /boot/grub/grub.cfg ]", true },
		{ "[ -s (hd0,gpt1)/boot/grub/grub.cfg ]", true },
		{ "[ -f (hd0,gpt2)/boot/grub/grub.cfg ]", false },
		{ "[ -d /boot ]", true },
		{ "[ -e /boot/none ]", false },
		{ "test -e /boot/grub", true },
		{ "true", true },
		{ "false", false },
		{ "keystatus --shift", false },
		{ "search --file --set=root /boot/grub/grub.cfg", true },
		{ "search --fs-uuid --set=root nope", false },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char cfg[512];
		snprintf(cfg, sizeof(cfg), "if %s ; then linux /yes; else linux /no; fi",
			 cases[i].condition);
		if (strcmp(chosen(cfg).kernel.path, cases[i].result ? "/yes" : "/no"))
			printf("  %s\n", cases[i].condition);
		CHECK_STR(chosen(cfg).kernel.path, cases[i].result ? "/yes" : "/no");
	}
}

TEST(broken_syntax_is_an_error)
{
	static const char *const cfgs[] = { "if true",	  "if true; then", "fi",
					    "}",	  "menuentry x {", "for x y; do done",
					    "while true", "function",	   "function f",
					    "done" };
	for (size_t i = 0; i < ARRAY_SIZE(cfgs); i++) {
		if (error_of(cfgs[i]) != -EINVAL)
			printf("  %s\n", cfgs[i]);
		CHECK_EQ(error_of(cfgs[i]), -EINVAL);
	}
}

/* Each has to end soon, by itself or by a bound. */
TEST(scripts_that_never_end_are_stopped)
{
	static const char *const cfgs[] = {
		"while true; do set x=y; done",
		"until false; do if [ a ]; then b; fi; done",
		"function f { f; }\nf",
		"function f { g; }\nfunction g { f; }\nf",
		"source /boot/grub/grub.cfg",
		"set x=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; while true; do set x=$x$x; done",
		"while true; do set y=$a$a$a$a$a$a$a$a$a$a$a$a$a$a$a$a$a$a$a$a$a$a; done",
		"while true; do menuentry x { linux /y; }; done",
		"while true; do if [ -f /x ]; then a; fi; done",
		"while true; do search --set=root --file /x; done",
		"while true; do while false; do a b c d e f g h; done; done",
		("submenu a { submenu b { submenu c { submenu d { submenu e { submenu f { submenu "
		 "g "
		 "{ submenu h { submenu i { menuentry x { linux /y; } } } } } } } } }"),
	};
	for (size_t i = 0; i < ARRAY_SIZE(cfgs); i++) {
		clock_t start = clock();
		CHECK(error_of(cfgs[i]) < 0);
		double s = (double)(clock() - start) / CLOCKS_PER_SEC;
		if (s > 5)
			printf("  %s: %.1f s\n", cfgs[i], s);
		CHECK(s < 10); /* with sanitizers */
	}
}

TEST(nesting_is_bounded)
{
	static char cfg[200000];
	cfg[0] = '\0';
	for (int i = 0; i < 10000; i++)
		strcpy(cfg + 14 * i, "if true; then\n");
	CHECK(error_of(cfg) < 0);
	for (int i = 0; i < 20000; i++)
		strcpy(cfg + 2 * i, "{ ");
	CHECK(error_of(cfg) < 0);
}

TEST(too_long_a_command_line_or_path_is_an_error)
{
	static char cfg[20000];
	memset(cfg, 'x', sizeof(cfg));
	memcpy(cfg, "linux /k ", 9);
	cfg[5000] = '\0';
	CHECK_EQ(error_of(cfg), -E2BIG);
	memcpy(cfg, "linux /kk", 9);
	cfg[1000] = '\0';
	CHECK_EQ(error_of(cfg), -ENOENT);
	memset(cfg, 'x', sizeof(cfg));
	memcpy(cfg, "linux /k ", 9);
	cfg[19000] = '\0';
	CHECK_EQ(error_of(cfg), -E2BIG);
}

TEST_MAIN(T(debian_boots_its_first_entry),
	  T(default_may_be_a_number_an_id_a_title_or_a_path_of_them),
	  T(saved_and_one_time_entries_come_from_grubenv),
	  T(default_entry_without_linux_is_not_followed),
	  T(ubuntu_cloud_image_starts_without_initrd_unless_that_failed),
	  T(fedora_boots_the_newest_entry_or_the_saved_one),
	  T(arch_has_two_initrds_and_systemd_boot_entries_sort_by_key),
	  T(words_are_split_and_quoted_as_in_a_shell), T(title_with_an_arrow_is_named_with_two),
	  T(loops_functions_and_sourced_files_work), T(test_command), T(broken_syntax_is_an_error),
	  T(scripts_that_never_end_are_stopped), T(nesting_is_bounded),
	  T(too_long_a_command_line_or_path_is_an_error))
