/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs: each takes its own argv (argv[0] is the verb) and gives the process's exit status. */
#ifndef TOOLS_IMAGE_VERBS_H
#define TOOLS_IMAGE_VERBS_H

int image_bench(int argc, char **argv);
int image_check(int argc, char **argv);
int image_commit(int argc, char **argv);
int image_compare(int argc, char **argv);
int image_convert(int argc, char **argv);
int image_create(int argc, char **argv);
int image_info(int argc, char **argv);
int image_io(int argc, char **argv);
int image_map(int argc, char **argv);
int image_packages(int argc, char **argv);
int image_rebase(int argc, char **argv);
int image_resize(int argc, char **argv);
int image_snapshot(int argc, char **argv);
int image_trim(int argc, char **argv);

#endif
