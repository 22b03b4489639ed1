# SPDX-License-Identifier: Apache-2.0
# bash completion for charmvm; options, machines and snapshots are asked of the program itself.

# The running machines.
_charmvm_machines() {
	local run=${XDG_RUNTIME_DIR:+$XDG_RUNTIME_DIR/charmvm}
	(cd "${run:-/tmp/charmvm-$UID}" 2>/dev/null && printf '%s\n' *.json | sed '/^\*/d; s/\.json$//')
}

# The snapshots of the only machine there is, or of the image that the command line names.
_charmvm_snapshots() {
	local i image=()
	for ((i = 3; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in --image | -i) image=(--image "${COMP_WORDS[i + 1]}") ;; esac
	done
	charmvm snapshot list --json "${image[@]}" 2>/dev/null | sed -n 's/^ *"name": "\(.*\)",*$/\1/p'
}

_charmvm_options() { # COMMAND...
	charmvm "$@" --help 2>/dev/null | grep -oE -- '--[a-z-]+' | sort -u
}

_charmvm_words() { # WORDS, one a line
	local IFS=$'\n'
	mapfile -t COMPREPLY < <(compgen -W "$1" -- "${COMP_WORDS[COMP_CWORD]}")
}

_charmvm_files() {
	mapfile -t COMPREPLY < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
	compopt -o filenames
}

_charmvm_one_of() { # WORD...
	_charmvm_words "$(printf '%s\n' "$@")"
}

_charmvm_snapshot() {
	local verb=${COMP_WORDS[2]}
	if [ "$COMP_CWORD" = 2 ]; then
		_charmvm_one_of delete export list rename revert save show tree
	elif [[ ${COMP_WORDS[COMP_CWORD]} = -* ]]; then
		_charmvm_words "$(_charmvm_options snapshot "$verb")"
	elif [ "$COMP_CWORD" = 3 ] && [[ $verb != @(list|save|tree) ]]; then
		_charmvm_words "$(_charmvm_snapshots)"
	elif [ "$COMP_CWORD" = 4 ] && [ "$verb" = export ]; then
		_charmvm_files
	else
		_charmvm_words "$(_charmvm_machines)"
	fi
}

_charmvm() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
	local image_verbs="bench check commit compare convert create info io map packages rebase resize snapshot trim"
	case $prev in
	--image | -i | --disk | -d | --kernel | -k | --initrd | --allow-backing | --pcap | --cdrom)
		_charmvm_files
		return
		;;
	--on-disk-error) _charmvm_one_of stop report; return ;;
	--firmware) _charmvm_one_of auto bios none; return ;;
	--cpu) _charmvm_one_of host baseline v3; return ;;
	--net) _charmvm_one_of user none; return ;;
	--agent) _charmvm_one_of on off; return ;;
	--cloud-init) _charmvm_one_of auto on off; return ;;
	--console) _charmvm_one_of stdio none file: socket:; return ;;
	esac
	if [ "$COMP_CWORD" = 1 ]; then
		_charmvm_words "$(printf '%s\n' build clone console cp destroy doctor events exec fork forward image import info logs ls open pause ports ps reboot rename reset resume run selftest snapshot ssh ssh-config start status stop suspend up version wait; _charmvm_options)"
		return
	fi
	case $command in
	image) if [ "$COMP_CWORD" = 2 ]; then _charmvm_words "${image_verbs// /$'\n'}"; else _charmvm_files; fi ;;
	snapshot) _charmvm_snapshot ;;
	import) if [[ $cur = -* ]]; then _charmvm_words "$(_charmvm_options import)"; else _charmvm_files; fi ;;
	build) if [[ $cur = -* ]]; then _charmvm_words "$(_charmvm_options build)"; else _charmvm_files; fi ;;
	clone | rename | start | up) _charmvm_files ;;
	forward) if [ "$COMP_CWORD" = 2 ]; then _charmvm_one_of add list remove; else _charmvm_words "$(_charmvm_machines)"; fi ;;
	cp) _charmvm_files ;;
	destroy) if [[ $cur = -* ]]; then _charmvm_one_of --yes; else _charmvm_files; mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$(_charmvm_machines)" -- "$cur"); fi ;;
	selftest) if [[ $cur = -* ]]; then _charmvm_words "$(_charmvm_options selftest)"; else _charmvm_words "$(printf '%s\n' fast notebook slow; _charmvm_machines)"; fi ;;
	doctor | ls | ps | version) _charmvm_words "$(_charmvm_options "$command")" ;;
	-*) _charmvm_words "$(_charmvm_options)" ;;
	*) if [[ $cur = -* ]]; then _charmvm_words "$(_charmvm_options "$command")"; else _charmvm_words "$(_charmvm_machines)"; fi ;;
	esac
}
complete -F _charmvm charmvm
