/* SPDX-License-Identifier: Apache-2.0 */
/* Charmfiles: what they are read as, and what is said to those that are wrong. */
#include "vmm/build/charmfile.h"

#include <errno.h>

#include "tests/unit/test.h"

static struct charmfile cf;
static char why[CHARMFILE_WHY_BYTES];

/* What can be included: "loop" has itself. */
static int read_file(void *opaque, const char *name, char **text, size_t *len)
{
	static const char *const files[][2] = {
		{ "two", "# two\nRUN one\nINCLUDE below/three\n" },
		{ "below/three", "\nRUN two" },
		{ "wrong", "\n\nRUNN x\n" },
		{ "base", "FROM x\n" },
		{ "loop", "INCLUDE loop\n" },
	};
	(void)opaque;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (strcmp(files[i][0], name) != 0)
			continue;
		*len = strlen(files[i][1]);
		*text = malloc(*len); /* exact, likewise */
		memcpy(*text, files[i][1], *len);
		return 0;
	}
	return strcmp(name, "link") ? -ENOENT : -EXDEV;
}

static const char *top = "Charmfile";

static int parse_bytes(const char *text, size_t len)
{
	charmfile_free(&cf);
	/* An exact copy, so that a read behind its end is seen. */
	char *copy = malloc(len ? len : 1);
	memcpy(copy, text, len);
	const struct charmfile_text in = {
		.path = top, .text = copy, .len = len, .read = read_file
	};
	int err = charmfile_parse(&cf, &in, why);
	free(copy);
	return err;
}

static int parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

/* Behind a good FROM, @line is refused, and the message has @message. */
static bool refuses(const char *line, const char *message)
{
	char text[2048], want[512];
	snprintf(text, sizeof(text), "FROM debian:12\n%s\n", line);
	snprintf(want, sizeof(want), "Charmfile:2: %s", message);
	if (parse(text) == -EINVAL && strstr(why, want) == why)
		return true;
	printf("  '%s' gives '%s', not '%s'\n", line, why, want);
	return false;
}

static bool takes(const char *line)
{
	char text[2048];
	snprintf(text, sizeof(text), "FROM debian:12\n%s\n", line);
	if (parse(text) == 0 && cf.nsteps == 2)
		return true;
	printf("  '%s' gives '%s'\n", line, why);
	return false;
}

TEST(every_word_becomes_a_step_with_its_line)
{
	CHECK_EQ(parse("# a notebook\n\nFROM ./base.qcow2\nPACKAGES jq "
		       "python3-numpy=1:1.24.2-1\nRUN echo hi\n"
		       "COPY a b /srv/\nENV A=1 B=2\nUSER charm\nEXPOSE 8888/tcp 53/udp\nMEM "
		       "2G\nCPUS 2\n"
		       "ENTRYPOINT exec top\n"),
		 0);
	CHECK_EQ(cf.nsteps, 10);
	for (unsigned int i = 0; i < cf.nsteps; i++) {
		CHECK_EQ(cf.steps[i].word, i);
		CHECK_EQ(cf.steps[i].line, i + 3);
	}
	CHECK_STR(cf.steps[0].operands[0], "./base.qcow2");
	CHECK_STR(cf.steps[2].text, "echo hi");
	CHECK_EQ(cf.steps[3].noperands, 3);
}

TEST(words_are_known_in_either_case)
{
	CHECK_EQ(parse("from debian:12\nRun true\n"), 0);
	CHECK_EQ(cf.steps[1].word, CHARMFILE_RUN);
}

TEST(a_backslash_joins_lines_as_a_shell_does)
{
	CHECK_EQ(parse("FROM x\nRUN echo a\\\nb && \\\n  # why\n\n\techo c\nRUN true"), 0);
	CHECK_STR(cf.steps[1].text, "echo ab && \techo c");
	CHECK_EQ(cf.steps[2].line, 7);
}

TEST(a_line_that_goes_on_at_the_end_of_the_file_ends_there)
{
	CHECK_EQ(parse("FROM x\nRUN true \\"), 0);
	CHECK_STR(cf.steps[1].text, "true");
	CHECK_EQ(parse("FROM x\n\\\n\\"), 0);
	CHECK_EQ(cf.nsteps, 1);
}

TEST(lines_may_end_as_in_windows)
{
	CHECK_EQ(parse("FROM x\r\nRUN a \\\r\n b\r\n"), 0);
	CHECK_STR(cf.steps[0].operands[0], "x");
	CHECK_STR(cf.steps[1].text, "a  b");
}

TEST(a_command_is_left_to_the_shell_as_it_is)
{
	CHECK_EQ(parse("FROM x\nRUN echo 'a  b' \"$HOME\" # c\n"), 0);
	CHECK_STR(cf.steps[1].text, "echo 'a  b' \"$HOME\" # c");
	CHECK_EQ(cf.steps[1].noperands, 0);
}

TEST(quotes_and_backslashes_keep_blanks_in_an_operand)
{
	CHECK(takes("ENV A='x  $y' B=\"q\\\"r s\" C=t\\ u D="));
	CHECK_EQ(cf.steps[1].noperands, 4);
	CHECK_STR(cf.steps[1].operands[0], "A=x  $y");
	CHECK_STR(cf.steps[1].operands[1], "B=q\"r s");
	CHECK_STR(cf.steps[1].operands[2], "C=t u");
	CHECK_STR(cf.steps[1].operands[3], "D=");
	CHECK(refuses("ENV A='x", "ENV: a quote is not closed"));
}

TEST(an_unknown_word_suggests_the_nearest)
{
	CHECK(refuses("PAKAGES jq", "unknown word 'PAKAGES'; did you mean PACKAGES?"));
	CHECK(refuses("cpoy a /b", "unknown word 'cpoy'; did you mean COPY?"));
	CHECK(refuses("HEALTHCHECK x", "unknown word 'HEALTHCHECK'; a line begins with FROM"));
}

TEST(a_word_of_dockerfiles_says_what_does_the_same)
{
	CHECK(refuses("WORKDIR /srv", "WORKDIR is not a Charmfile's: begin a RUN with"));
	CHECK(refuses("add a /b", "ADD is not a Charmfile's: COPY"));
	CHECK(refuses("RUN [\"ls\"]", "RUN: write the command as in a shell"));
	CHECK(refuses("RUN <<EOF", "RUN: no here-documents"));
	CHECK(takes("RUN [ -f /etc/passwd ]"));
}

TEST(from_comes_first_and_once)
{
	CHECK_EQ(parse("\nRUN true\nFROM x\n"), -EINVAL);
	CHECK(strstr(why, "Charmfile:2: RUN before FROM") == why);
	CHECK_EQ(parse(""), -EINVAL);
	CHECK(strstr(why, "Charmfile:1: there is no FROM") == why);
	CHECK_EQ(parse("# nothing\n\n"), -EINVAL);
	CHECK(strstr(why, "there is no FROM"));
	CHECK(refuses("FROM y", "a second FROM; the first is in Charmfile:1"));
	CHECK_EQ(parse("FROM x\nMEM 1G\nMEM 2G\n"), -EINVAL);
	CHECK(strstr(why, "Charmfile:3: a second MEM; the first is in Charmfile:2") == why);
}

TEST(a_copy_stays_inside_the_context)
{
	CHECK(takes("COPY a/..b/c... /srv"));
	CHECK(takes("COPY . /srv/"));
	CHECK(refuses("COPY ../x /srv", "COPY ../x: outside the context"));
	CHECK(refuses("COPY a/../../x /srv", "COPY a/../../x: outside"));
	CHECK(refuses("COPY a/.. /srv", "COPY a/..: outside"));
	CHECK(refuses("COPY /etc/passwd /srv", "COPY /etc/passwd: outside"));
	CHECK(refuses("COPY \".\". /srv", "COPY ..: outside"));
}

TEST(a_copy_wants_sources_and_an_absolute_target)
{
	CHECK(refuses("COPY a", "COPY wants a source and a target"));
	CHECK(refuses("COPY a b", "COPY: the target 'b' is to be an absolute path"));
	CHECK(refuses("COPY a ''", "COPY: the target ''"));
	CHECK(refuses("COPY a b /srv", "COPY: several sources want a directory: '/srv/'"));
	CHECK(refuses("COPY --chown=charm a /srv", "COPY --chown=charm: COPY has no options"));
}

TEST(a_package_is_never_an_option_of_apt)
{
	CHECK(refuses("PACKAGES -oDPkg::Pre-Invoke=sh",
		      "PACKAGES -oDPkg::Pre-Invoke=sh: not the name"));
	CHECK(refuses("PACKAGES jq -y", "PACKAGES -y: not the name"));
	CHECK(refuses("PACKAGES jq ../x.deb", "PACKAGES ../x.deb: not the name"));
	CHECK(refuses("PACKAGES jq=", "PACKAGES jq=: not the name"));
	CHECK(refuses("PACKAGES", "PACKAGES: what it is to take is missing"));
	CHECK(takes("PACKAGES g++ libc6:amd64 jq=1.6-2.1+deb12u1~x"));
}

TEST(values_are_judged_where_they_are_written)
{
	CHECK(refuses("MEM 63M", "MEM 63M: a size of 64M or more"));
	CHECK(refuses("MEM lots", "MEM lots: a size"));
	CHECK(refuses("CPUS 0", "CPUS 0: a machine has 1 to 64"));
	CHECK(refuses("CPUS 65", "CPUS 65: a machine has 1 to 64"));
	CHECK(refuses("EXPOSE 0", "EXPOSE 0: a port"));
	CHECK(refuses("EXPOSE 65536", "EXPOSE 65536: a port"));
	CHECK(refuses("EXPOSE 80/sctp", "EXPOSE 80/sctp: a port"));
	CHECK(refuses("EXPOSE 000000000080", "EXPOSE 000000000080: a port"));
	CHECK(refuses("ENV PATH", "ENV PATH: NAME=VALUE is wanted"));
	CHECK(refuses("ENV 1A=x", "ENV 1A=x: NAME=VALUE"));
	CHECK(refuses("USER Root", "USER Root: not the name of a user"));
	CHECK(refuses("USER a b", "USER takes one word; 'b' is too many"));
	CHECK(refuses("USER ''", "USER: what it is to take is missing"));
	CHECK(takes("EXPOSE 65535"));
}

TEST(what_is_included_stands_where_it_is_said)
{
	static const char *const runs[] = { "zero", "one", "two", "three" };
	static const char *const paths[] = { "there/Charmfile", "there/two", "there/below/three",
					     "there/Charmfile" };
	top = "there/Charmfile";
	CHECK_EQ(parse("FROM x\nRUN zero\ninclude two\nRUN three\n"), 0);
	top = "Charmfile";
	CHECK_EQ(cf.nsteps, 5);
	for (size_t i = 0; i < 4; i++) {
		CHECK_STR(cf.steps[i + 1].text, runs[i]);
		CHECK_STR(cf.steps[i + 1].path, paths[i]);
		CHECK_EQ(cf.steps[i + 1].line, i == 3 ? 4 : 2);
	}
}

TEST(a_mistake_in_what_is_included_is_told_with_its_place)
{
	CHECK_EQ(parse("FROM x\nINCLUDE wrong\n"), -EINVAL);
	CHECK(strstr(why, "wrong:3: unknown word 'RUNN'") == why);
	CHECK_EQ(parse("FROM x\nINCLUDE base\n"), -EINVAL);
	CHECK(strstr(why, "base:1: a second FROM; the first is in Charmfile:1") == why);
	CHECK_EQ(parse("INCLUDE base\n"), -EINVAL);
	CHECK(strstr(why, "Charmfile:1: INCLUDE before FROM") == why);
}

TEST(an_include_stays_inside_the_context_and_ends)
{
	CHECK(refuses("INCLUDE nothing", "INCLUDE nothing: No such file"));
	CHECK(refuses("INCLUDE link", "INCLUDE link: a link leads out of the context"));
	CHECK(refuses("INCLUDE ../two", "INCLUDE ../two: outside the context"));
	CHECK(refuses("INCLUDE /two", "INCLUDE /two: outside the context"));
	CHECK(refuses("INCLUDE two wrong", "INCLUDE takes one word"));
	CHECK_EQ(parse("FROM x\nINCLUDE loop\n"), -EINVAL);
	CHECK(strstr(why, "loop:1: INCLUDE loop: more than 64 of them") == why);
}

TEST(share_is_refused_for_what_it_is)
{
	CHECK(refuses("SHARE . /srv", "SHARE: machines have no shared directories yet"));
}

TEST(a_message_holds_nothing_that_a_terminal_obeys)
{
	CHECK(refuses("\033[2J\x80", "unknown word '?[2J?'"));
	CHECK_EQ(parse_bytes("FROM x\n\nRUN a\0b", 15), -EINVAL);
	CHECK_STR(why, "Charmfile:3: a NUL byte; is this a Charmfile?");
}

TEST(what_is_too_large_is_refused)
{
	size_t len = CHARMFILE_BYTES_MAX + 1;
	char *text = malloc(len);
	memset(text, '\n', len);
	memcpy(text, "FROM x", 6);
	CHECK_EQ(parse_bytes(text, len - 1), 0);
	CHECK_EQ(parse_bytes(text, len), -E2BIG);
	CHECK(strstr(why, "larger than 256 KiB"));
	for (size_t i = 7; i + 10 < len; i += 10)
		memcpy(text + i, "RUN true \n", 10);
	CHECK_EQ(parse_bytes(text, len - 1), -EINVAL);
	CHECK_STR(why, "Charmfile:513: more than 512 instructions");
	memset(text, ' ', len);
	memcpy(text, "FROM x\nENV", 10);
	for (size_t i = 11; i + 4 < len; i += 4)
		memcpy(text + i, "A=1 ", 4);
	CHECK_EQ(parse_bytes(text, len - 1), -EINVAL);
	CHECK_STR(why, "Charmfile:2: ENV: more than 1024 operands");
	free(text);
}

TEST_MAIN(T(every_word_becomes_a_step_with_its_line), T(words_are_known_in_either_case),
	  T(a_backslash_joins_lines_as_a_shell_does),
	  T(a_line_that_goes_on_at_the_end_of_the_file_ends_there), T(lines_may_end_as_in_windows),
	  T(a_command_is_left_to_the_shell_as_it_is),
	  T(quotes_and_backslashes_keep_blanks_in_an_operand),
	  T(an_unknown_word_suggests_the_nearest), T(a_word_of_dockerfiles_says_what_does_the_same),
	  T(from_comes_first_and_once), T(a_copy_stays_inside_the_context),
	  T(a_copy_wants_sources_and_an_absolute_target), T(a_package_is_never_an_option_of_apt),
	  T(values_are_judged_where_they_are_written), T(what_is_included_stands_where_it_is_said),
	  T(a_mistake_in_what_is_included_is_told_with_its_place),
	  T(an_include_stays_inside_the_context_and_ends), T(share_is_refused_for_what_it_is),
	  T(a_message_holds_nothing_that_a_terminal_obeys), T(what_is_too_large_is_refused))
