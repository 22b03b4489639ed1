/* SPDX-License-Identifier: Apache-2.0 */
/* `charmvm image VERB ...`: disk images, on the engine that the machine uses. */
#ifndef TOOLS_IMAGE_IMAGE_H
#define TOOLS_IMAGE_IMAGE_H

/*
 * Runs the verb argv[1]. -> the process's exit status: 0, 1 for a failure, and for check and compare
 * what qemu-img ends with.
 */
int image_main(int argc, char **argv);

#endif
