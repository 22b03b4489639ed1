/* SPDX-License-Identifier: Apache-2.0 */
/* The guest kit (guest-kit), which makes images of its recipes and keeps them, for the commands that need one. One thread. */
#ifndef VMM_GUEST_KIT_H
#define VMM_GUEST_KIT_H

#include <limits.h>
#include <stdbool.h>

/* Where it is: as $CHARMVM_GUEST_KIT says, beside the source tree's program, or where it is installed. -> false: nowhere */
bool guest_kit_find(char kit[PATH_MAX]);
/* Is there a recipe of that name, which must be one for a file? */
bool guest_kit_has(const char *kit, const char *recipe);
/* Has guest-kit/demo-image make the image of @recipe, unless it is kept from before; it tells its progress, and what fails, on
 * standard error. @image: where that is, only to be read. -> false: it could not */
bool guest_kit_make(const char *kit, const char *recipe, char image[PATH_MAX]);

#endif
