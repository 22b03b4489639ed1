# SPDX-License-Identifier: Apache-2.0
# fish completion for charmvm. Commands, verbs and options are asked of the program's --help, machines and snapshots of the
# program itself: nothing here has to be kept up with them.

function __charmvm_machines
	set -l run /tmp/charmvm-(id -u)
	set -q XDG_RUNTIME_DIR; and set run $XDG_RUNTIME_DIR/charmvm
	for record in $run/*.json
		basename $record .json
	end
end

# Of the image that the command line names, or else of the only machine there is.
function __charmvm_snapshots
	set -l words (commandline -opc)
	set -l image
	for i in (seq (count $words))
		if contains -- $words[$i] --image -i; and test $i -lt (count $words)
			set image --image $words[(math $i + 1)]
		else if string match -q -- '*.qcow2' $words[$i]; and test -z "$image"
			set image --image $words[$i]
		end
	end
	charmvm snapshot list --json $image 2>/dev/null | string replace -rf '^ *"name": "(.*)",?$' '$1'
end

# COMMAND [VERB]: its options, each with what it does; one whose name is long has that on the next line.
function __charmvm_options
	charmvm $argv --help 2>/dev/null | string replace -rf '^  (?:-., |    )(--[a-z0-9-]+)(?: \S+)? *(.*)$' '$1\t$2'
end
function __charmvm_names
	charmvm $argv --help 2>/dev/null | sed -nE '/^(Commands|Verbs):$/,/^$/s/^  ([a-z-]+) +(.*)/\1\t\2/p'
end

function __charmvm_operands
	switch "$argv"
		case 'snapshot list' 'snapshot save' 'snapshot tree'
			__charmvm_machines
		case 'snapshot *'
			if test (count (commandline -opc)) = 3
				__charmvm_snapshots
			else
				__charmvm_machines
				test "$argv" = 'snapshot export'; and __fish_complete_path (commandline -ct)
			end
		case 'image*' import up start build run
			__fish_complete_path (commandline -ct)
		case clone rename destroy cp
			__charmvm_machines
			__fish_complete_path (commandline -ct)
		case selftest
			printf '%s\n' fast notebook slow
			__charmvm_machines
		case wait
			printf '%s\n' agent ssh port:
			__charmvm_machines
		case doctor ls ps version ''
		case '*'
			__charmvm_machines
	end
end

# The value of an option, where something is known of it.
function __charmvm_value
	switch "$argv"
		case --image -i --disk --kernel -k --initrd --allow-backing --pcap --cdrom --output -o --file --keep --user-data
			__fish_complete_path (commandline -ct)
		case --from
			__charmvm_snapshots
		case --on-disk-error
			printf '%s\n' stop report
		case --firmware
			printf '%s\n' auto bios none
		case --cpu
			printf '%s\n' host baseline v3
		case --net
			printf '%s\n' user none
		case --agent
			printf '%s\n' on off
		case --cloud-init
			printf '%s\n' auto on off
		case --expose
			printf '%s\n' free ssh notebook
		case --console
			printf '%s\n' stdio none file: socket:
		case '*'
			return 1
	end
end

function __charmvm_complete
	set -l words (commandline -opc)
	set -l path
	if test (count $words) -gt 1
		__charmvm_value $words[-1]; and return
		string match -q -- '-*' $words[2]; or set path $words[2]
	end
	if test (count $path) = 1
		set -l verbs (__charmvm_names $path)
		if test -n "$verbs"; and test (count $words) = 2
			printf '%s\n' $verbs
			return
		end
		test -n "$verbs"; and set -a path $words[3]
	end
	if string match -q -- '-*' (commandline -ct)
		__charmvm_options $path
	else if test (count $words) = 1
		__charmvm_names
	else
		__charmvm_operands $path
	end
end
complete -c charmvm -f -a '(__charmvm_complete)'
