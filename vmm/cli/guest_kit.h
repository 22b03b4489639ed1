/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest kit (guest-kit): its recipes, which are Charmfiles, its bases, such as debian:12, and having images made of them, for
 * the commands that need one. One thread.
 */
#ifndef VMM_GUEST_KIT_H
#define VMM_GUEST_KIT_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

/* Where it is: as $CHARMVM_GUEST_KIT says, beside the source tree's program, or where it is installed. -> false: nowhere */
bool guest_kit_find(char kit[PATH_MAX]);
/* Is there a recipe of that name? @path: its Charmfile. */
bool guest_kit_recipe(const char *kit, const char *name, char path[PATH_MAX]);
/* Is there a base of that name? */
bool guest_kit_has_base(const char *kit, const char *name);
/* Has charmvm build make the image of @recipe, unless it is kept from before, in a process of its own, which tells its progress,
 * and what fails, on standard error. @image: where that is, only to be read. -> false: it could not */
bool guest_kit_make(const char *recipe, char image[PATH_MAX]);

/* Starts a program that ends with us; @fd: where its standard output goes, since ours is for what is made. -> -1: not */
pid_t guest_kit_start(const char *const *argv, int fd);
/* Waits for it. -> whether its status was 0 */
bool guest_kit_ended_well(pid_t pid);

#endif
