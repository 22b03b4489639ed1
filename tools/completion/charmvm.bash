# SPDX-License-Identifier: Apache-2.0
# bash completion for charmvm. Commands, verbs and options are asked of the program's --help, machines and snapshots of the
# program itself: nothing here has to be kept up with them.

# The running machines.
_charmvm_machines() {
	local run=${XDG_RUNTIME_DIR:+$XDG_RUNTIME_DIR/charmvm}
	(cd "${run:-/tmp/charmvm-$UID}" 2>/dev/null && printf '%s\n' *.json | sed '/^\*/d; s/\.json$//')
}

# The snapshots of the image that the command line names, or else of the only machine there is.
_charmvm_snapshots() {
	local i image=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--image | -i) image=(--image "${COMP_WORDS[i + 1]}") ;;
		*.qcow2) [ "${#image[@]}" != 0 ] || image=(--image "${COMP_WORDS[i]}") ;;
		esac
	done
	charmvm snapshot list --json "${image[@]}" 2>/dev/null | sed -n 's/^ *"name": "\(.*\)",*$/\1/p'
}

_charmvm_options() { # [COMMAND [VERB]]
	charmvm "$@" --help 2>/dev/null | sed -nE 's/^  (-., |    )(--[a-z0-9-]+).*/\2/p'
}
_charmvm_names() { # [COMMAND]: the commands, or a command's verbs
	charmvm "$@" --help 2>/dev/null | sed -nE '/^(Commands|Verbs):$/,/^$/s/^  ([a-z-]+) .*/\1/p'
}

_charmvm_words() { # WORDS, one a line
	local IFS=$'\n'
	mapfile -t COMPREPLY < <(compgen -W "$1" -- "${COMP_WORDS[COMP_CWORD]}")
}
_charmvm_one_of() { # WORD...
	_charmvm_words "$(printf '%s\n' "$@")"
}
_charmvm_files() {
	mapfile -t COMPREPLY < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
	compopt -o filenames 2>/dev/null
}
_charmvm_machines_and_files() {
	_charmvm_files
	mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$(_charmvm_machines)" -- "${COMP_WORDS[COMP_CWORD]}")
}

# The value of an option, where something is known of it.
_charmvm_value() { # OPTION
	case $1 in
	--image | -i | --disk | --kernel | -k | --initrd | --allow-backing | --pcap | --cdrom | --output | -o | --file | --keep | --user-data)
		_charmvm_files ;;
	--from) _charmvm_words "$(_charmvm_snapshots)" ;;
	--on-disk-error) _charmvm_one_of stop report ;;
	--firmware) _charmvm_one_of auto bios none ;;
	--cpu) _charmvm_one_of host baseline v3 ;;
	--net) _charmvm_one_of user none ;;
	--agent) _charmvm_one_of on off ;;
	--cloud-init) _charmvm_one_of auto on off ;;
	--expose) _charmvm_one_of free ssh notebook ;;
	--console) _charmvm_one_of stdio none file: socket: ;;
	*) return 1 ;;
	esac
}

# A word that is no option.
_charmvm_operand() { # COMMAND [VERB]
	case $* in
	'snapshot list' | 'snapshot save' | 'snapshot tree') _charmvm_words "$(_charmvm_machines)" ;;
	snapshot*)
		if [ "$COMP_CWORD" = 3 ]; then
			_charmvm_words "$(_charmvm_snapshots)"
		elif [ "$*" = 'snapshot export' ] && [ "$COMP_CWORD" = 4 ]; then
			_charmvm_files
		else
			_charmvm_words "$(_charmvm_machines)"
		fi ;;
	image* | import | up | start | build | run) _charmvm_files ;;
	clone | rename | destroy | cp) _charmvm_machines_and_files ;;
	selftest) _charmvm_words "$(printf '%s\n' fast notebook slow; _charmvm_machines)" ;;
	wait) _charmvm_words "$(printf '%s\n' agent ssh port:; _charmvm_machines)" ;;
	doctor | ls | ps | version) ;;
	*) _charmvm_words "$(_charmvm_machines)" ;;
	esac
}

_charmvm() {
	local cur=${COMP_WORDS[COMP_CWORD]} path=() verbs
	if [ "$COMP_CWORD" -gt 1 ] && _charmvm_value "${COMP_WORDS[COMP_CWORD - 1]}"; then
		return
	fi
	[ "$COMP_CWORD" = 1 ] || [[ ${COMP_WORDS[1]} = -* ]] || path=("${COMP_WORDS[1]}")
	if [ "${#path[@]}" = 1 ]; then
		verbs=$(_charmvm_names "${path[0]}")
		if [ -n "$verbs" ] && [ "$COMP_CWORD" = 2 ]; then
			_charmvm_words "$verbs"$'\n'--help
			return
		fi
		[ -z "$verbs" ] || path+=("${COMP_WORDS[2]}")
	fi
	if [[ $cur = -* ]]; then
		_charmvm_words "$(_charmvm_options "${path[@]}")"
	elif [ "$COMP_CWORD" = 1 ]; then
		_charmvm_words "$(_charmvm_names; _charmvm_options)"
	else
		_charmvm_operand "${path[@]}"
	fi
}
complete -F _charmvm charmvm
