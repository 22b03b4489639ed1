/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's own word for everybody's environment: /etc/environment, as pam_env(8) reads it for a login. */
#ifndef AGENT_ENVIRONMENT_H
#define AGENT_ENVIRONMENT_H

/* Sets what is in @path; a file that is not there, or of which a line is none, is no error. At most 64 KiB of it. */
void environment_read(const char *path);

#endif
