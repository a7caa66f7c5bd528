package command

// BashGuard goes before the completion script for bash. That one calls functions of
// the package bash-completion and, without them, would print errors at each Tab.
const BashGuard = `if ! declare -F _get_comp_words_by_ref >/dev/null 2>&1; then
    echo "bottle: to complete words, bash needs the package bash-completion; it must be loaded first" >&2
    return 1 2>/dev/null
fi
`
