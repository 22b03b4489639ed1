/* SPDX-License-Identifier: Apache-2.0 */
/* The sub-commands of the one binary: each takes its own argv and gives the process's exit status. */
#ifndef VMM_COMMANDS_H
#define VMM_COMMANDS_H

int cmd_build(int argc, char **argv);
int cmd_clone(int argc, char **argv);
int cmd_console(int argc, char **argv);
int cmd_cp(int argc, char **argv);
int cmd_destroy(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_events(int argc, char **argv);
int cmd_exec(int argc, char **argv);
int cmd_fork(int argc, char **argv);
int cmd_forward(int argc, char **argv);
int cmd_import(int argc, char **argv); /* charmvm import FILE */
int cmd_logs(int argc, char **argv);
int cmd_open(int argc, char **argv);
int cmd_pause(int argc, char **argv);
int cmd_ports(int argc, char **argv);
int cmd_ps(int argc, char **argv);
int cmd_reboot(int argc, char **argv);
int cmd_rename(int argc, char **argv);
int cmd_reset(int argc, char **argv);
int cmd_resume(int argc, char **argv);
int cmd_run(int argc, char **argv);    /* charmvm --image ..., the default one */
int cmd_run_in(int argc, char **argv); /* charmvm run ... */
int cmd_selftest(int argc, char **argv);
int cmd_snapshot(int argc, char **argv); /* charmvm snapshot save|list|... */
int cmd_ssh(int argc, char **argv);	 /* charmvm ssh ... */
int cmd_ssh_config(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_stop(int argc, char **argv);
int cmd_suspend(int argc, char **argv);
int cmd_up(int argc, char **argv);
int cmd_version(int argc, char **argv);
int cmd_wait(int argc, char **argv);

#endif
