/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vagrant's well-known key pair, which most boxes trust and everybody has: it opens a box once, to be replaced
 * (hashicorp/vagrant, keys/README.md). It protects nothing and is no secret.
 */
#ifndef VMM_VAGRANT_KEY_H
#define VMM_VAGRANT_KEY_H

/* The private key, RSA, as ssh-keygen(1) wrote it. */
const char *vagrant_private_key(void);
/* What stands for the public ones in authorized_keys, the RSA key's and the Ed25519 key's: no line with them may stay. */
#define VAGRANT_PUBLIC_RSA                                                                         \
	"AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGY"                   \
	"e7gHzIw+niNltGEFHzD8+v1I2YJ6oXevct1YeS0o9HZyN1Q9qgCgzUFtdOKLv6IedplqoP"                   \
	"kcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo9D8HfdOV0IAdx4O7PtixWKn5y2hMNG0z"                   \
	"QPyUecp4pzC6kivAIhyfHilFR61RGL+GPXQ2MWZWFYbAGjyiYJnAmCP3NOTd0jMZEnDkbU"                   \
	"vxhMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIPKcF96hrucXzcWyLbIbEgE98OHlnVYCz"                   \
	"RdK8jlqm8tehUc9c9WhQ=="
#define VAGRANT_PUBLIC_ED25519                                                                     \
	"AAAAC3NzaC1lZDI1NTE5AAAAIN1YdxBpNlzxDqfJyw/QKow1F+wvG9hXGoqiysfJOn5Y"

#endif
