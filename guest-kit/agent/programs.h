/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's own programs, which run in processes of their own, as the user asked for. */
#ifndef AGENT_PROGRAMS_H
#define AGENT_PROGRAMS_H

/* "receive PATH", "send PATH", "port N" (PROTOCOL.md). -> the exit status; 2: no such program. */
int program_run(int argc, char **argv);

#endif
