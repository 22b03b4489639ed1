/* SPDX-License-Identifier: Apache-2.0 */
/* What the process ends with; documented in charmvm(1), so a number never changes its meaning. */
#ifndef VMM_EXIT_STATUS_H
#define VMM_EXIT_STATUS_H

enum exit_status {
	EXIT_STATUS_OK = 0,	    /* the guest powered off; the command did its work */
	EXIT_STATUS_FAILED = 1,	    /* whatever has no number of its own */
	EXIT_STATUS_USAGE = 2,	    /* the command line is wrong */
	EXIT_STATUS_FILE = 3,	    /* an image, kernel or other file cannot be used */
	EXIT_STATUS_IN_USE = 4,	    /* another process has the image */
	EXIT_STATUS_KVM = 5,	    /* /dev/kvm is missing, forbidden or too old */
	EXIT_STATUS_PORT = 6,	    /* a port is taken or forbidden */
	EXIT_STATUS_GUEST_DIED = 7, /* KVM cannot go on with the guest */
	EXIT_STATUS_NO_MACHINE = 8, /* no running machine of that name */
	/* Of what runs a command in a guest (exec, run, cp, wait), apart from the command's own statuses: */
	EXIT_STATUS_OUT_OF_MEMORY = 121, /* the guest killed the command for want of memory */
	EXIT_STATUS_GUEST_GONE = 122,	 /* the guest ended, died or started anew meanwhile */
	EXIT_STATUS_TIMEOUT = 124,	 /* the time was up */
	EXIT_STATUS_NO_RUN = 125,	 /* the command was not run; the message says why */
	EXIT_STATUS_CANNOT_RUN = 126,	 /* it is there, but cannot be run */
	EXIT_STATUS_NOT_FOUND = 127,	 /* there is no such command */

	EXIT_STATUS_SIGNAL = 128, /* + number: stopped by a second signal, disks flushed */
};

#endif
