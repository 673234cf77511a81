# bash completion for zerobuffer. In ~/.bashrc: source <(zerobuffer completion bash)

_zerobuffer() {
  # bash splits words at "=" and ":", too. Here they are as they stand in the line, up to the cursor.
  local rest=${COMP_LINE:0:COMP_POINT} words=() part i
  for ((i = 0; i <= COMP_CWORD; i++)); do
    if ((i == 0)) || [[ $rest == [[:space:]]* ]]; then
      words+=("")
      rest=${rest#"${rest%%[![:space:]]*}"}
    fi
    part=${COMP_WORDS[i]}
    part=${part:0:${#rest}}
    words[${#words[@]} - 1]+=$part
    rest=${rest#"$part"}
  done

  # Only what is behind the "=" is replaced.
  local last=$((${#words[@]} - 1)) head="" value
  local word=${words[last]}
  if [[ $COMP_WORDBREAKS == *=* ]]; then head=${word%"${word##*=}"}; fi

  COMPREPLY=()
  while IFS=$'\t' read -r value _; do
    # Without an answer bash offers files, as `complete` below says.
    if [[ $value == :files ]]; then return; fi
    COMPREPLY+=("${value#"$head"}")
  done < <("${1/#\~/$HOME}" complete "--word=$word" -- "${words[@]:1:last-1}" 2>/dev/null)
  # bash 3 has no compopt, and offers files where nothing else is to be offered.
  compopt +o default 2>/dev/null
}

complete -o default -F _zerobuffer zerobuffer
