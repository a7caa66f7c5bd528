package inbound

// The rules. Their names stand in records, and are never changed.
const (
	hiddenTags        = "hidden-tags"
	hiddenSelectors   = "hidden-selectors"
	hiddenBlank       = "hidden-zero-width"
	hiddenBidi        = "hidden-bidi"
	terminalClipboard = "terminal-clipboard"
	terminalTitle     = "terminal-title"
	terminalLink      = "terminal-link"
	terminalQuery     = "terminal-query"
	terminalMove      = "terminal-overwrite"
	terminalMode      = "terminal-mode"
	terminalString    = "terminal-string"
	terminalCommand   = "terminal-command"
	terminalConceal   = "terminal-conceal"
	injectionOverride = "injection-override"
	injectionRole     = "injection-role"
	injectionPersona  = "injection-persona"
	injectionSecrecy  = "injection-secrecy"
	injectionExfil    = "injection-exfiltration"
	injectionAddress  = "injection-address"
)

// Rule is one kind of finding, for a person.
type Rule struct{ ID, Description string }

// Rules lists all kinds, by their names.
func Rules() []Rule {
	return []Rule{
		{hiddenBidi, "Bidirectional controls that show text in another order than it is read (CVE-2021-42574)."},
		{hiddenSelectors, "Variation selectors in rows, or where none belong: they carry bytes that nobody sees."},
		{hiddenTags, "Tag characters outside of a flag: text that nobody sees and a model reads."},
		{hiddenBlank, "Many characters that nobody sees, in a row or strewn in text: they carry bits."},
		{injectionAddress, "A text that speaks to agents or models instead of to its reader."},
		{injectionExfil, "An order to send secrets, files or the conversation somewhere."},
		{injectionOverride, "An order to ignore earlier instructions."},
		{injectionPersona, "An order to be another, or to be without rules."},
		{injectionRole, "The marks by which a model's prompt tells who speaks, as if this were a prompt."},
		{injectionSecrecy, "An order to keep something from the user."},
		{terminalClipboard, "A control sequence that writes the clipboard (OSC 52)."},
		{terminalCommand, "A control sequence that commands the terminal (OSC), such as its colours or files."},
		{terminalConceal, "A control sequence by which text is there and is not shown (SGR 8)."},
		{terminalLink, "A control sequence that makes a link: what is shown is not where it leads (OSC 8)."},
		{terminalMode, "A control sequence that changes how the terminal works, or resets it."},
		{terminalMove, "A control sequence by which text is shown over other text, is erased or is repeated."},
		{terminalQuery, "A control sequence that the terminal answers, as if a person typed."},
		{terminalString, "A control string (DCS, APC, PM, SOS): what is in it is not shown, and may be a command."},
		{terminalTitle, "A control sequence that sets or reads the window's title, or moves the window."},
	}
}

// phrase is one pattern. Its shape is held against text as normal gives it: small
// letters, one blank between words, no stars, quotes or commas. It is looked for only
// where one of first stands (and one of then, if there are any, at most gap bytes
// behind it), in the text as it is or as it is read.
type phrase struct {
	rule        string
	first, then []string
	gap         int
	shape       string
}

// words between two that matter.
const (
	few  = `(?:[^ .]{1,20} ){0,4}?`
	some = `(?:[^ .]{1,20} ){0,2}?`
	ai   = `(?:ai|llm|a\.i\.|language model|chatgpt|claude(?: code)?|copilot|gpt-?[345]|codex|gemini|cursor|devin)`
)

// phrases lists the patterns, at most 64. The attacks that they are about are known
// from public reports; attacks_test.go tells each in words of our own.
func phrases() []phrase {
	return []phrase{
		{injectionOverride, []string{"ignor", "disregard", "forget", "overrid", "bypass", "not follow", "stop following", "not obey", "attention to"},
			[]string{"instruction", "prompt", "directive", "guideline"}, 72,
			`\b(?:ignor(?:e|ing)|disregard(?:ing)?|forget|overrid(?:e|ing)|bypass|(?:do not|don't|stop) (?:follow|obey)(?:ing)?|no attention to) ` + few +
				`(?:previous(?:ly)?|prior|above|earlier|preceding|foregoing|former|all(?: of)?(?: your| the| my| other)?|your|my|original|initial|system|developer|safety) ` +
				some + `(?:instruction|prompt|directive|guideline)s?\b`},
		{injectionOverride, []string{"ignor", "disregard", "forget"}, []string{"above", "before", "previous", "you were told", "you know", "you have been told", "prior", "earlier"}, 40,
			`\b(?:ignore|disregard|forget) (?:absolutely )?(?:everything|all|anything|all of it|whatever) (?:that )?(?:(?:was |is |stands )?(?:above|before this|said (?:above|before)|written above)|(?:previous|prior|earlier) (?:text|rules|messages|context|commands|orders|training)|you (?:were|have been|'ve been) (?:told|taught|given|instructed)|you know about (?:your|the) )`},
		{injectionOverride, []string{"ignor", "vergiss", "oublie", "olvida"}, []string{"anweisung", "instruc", "istruzioni"}, 64,
			`\b(?:ignorier(?:e|en sie)?|vergiss|missachte|ignorez?|oublie[zr]?|ignora|ignore|olvida|ignori) ` + few + `(?:(?:vorherigen?|vorigen?|bisherigen?|obigen?|fruheren?) anweisungen|instructions (?:precedentes|ci-dessus|anterieures)|instruc(?:ciones|oes) (?:anteriores|previas)|istruzioni precedenti)`},
		{injectionOverride, []string{"忽略", "无视", "忘记"}, []string{"指令", "指示", "提示"}, 48,
			`(?:忽略|无视|忘记).{0,12}(?:之前|以前|以上|上面|先前|前面|所有).{0,12}(?:指令|指示|提示)`},
		{injectionOverride, []string{"new instruction", "system override", "admin override", "override code", "developer override", "instructions have changed", "instructions have been"}, nil, 0,
			`\b(?:(?:your|these are (?:your|the)|here are (?:your|the)) new (?:system )?instructions?\b|(?:system|admin|developer) override(?: code)? ?[:!]|your (?:previous )?instructions have (?:changed|been (?:updated|replaced|superseded)))`},
		{injectionRole, []string{"im_start|", "im start|", "start_header_id|", "start header id|", "|system|", "<sys>", "[inst]", "begin_of_text|", "begin of text|", "|endoftext|"}, nil, 0,
			`<\|im start\|>|<\|start header id\|>|<\|(?:system|begin of text)\|>|<\|endoftext\|> ?(?:system|user|<)|<<sys>>|\[inst\] ?[^\]$]`},
		{injectionRole, []string{"system prompt", "system message", "system instruction", "system_prompt", "new prompt", "of prompt"}, nil, 0,
			`(?:^|[^a-z ] ?)(?:new|end of|updated|begin|start of) ?system (?:prompt|message|instructions?) ?[\]:>-]|<(?:new )?system (?:prompt|instructions?)>|\[system (?:message|prompt|instructions?)\]|</?system prompt>`},
		{injectionRole, []string{"human:", "### instruction"}, []string{"assistant:", "### response"}, 300, `\bhuman: .{2,300} assistant: ?|### instruction:? .{2,300} ### response`},
		{injectionPersona, []string{"you are now", "you are no longer", "from now on", "pretend", "act as", "do anything now", "jailbreak", "roleplay", "developer mode"}, nil, 0,
			`\byou are (?:now|no longer) (?:(?:a|an|the|in|bound|my|acting as|operating in|running in|called|known as) )?` + few + `(?:ai|assistant|dan|developer mode|debug mode|god mode|maintenance mode|unrestricted|jailbroken|language model|chatbot|hacker|evil|root|restricted|restrictions|(?:any |the |your )?rules|guidelines|policies|filters|agent)\b` +
				`|\bfrom now on,? you (?:are (?:a|an|the|my) |will (?:act|respond|answer|obey|behave|ignore|only|always)|must (?:obey|respond|answer|act|ignore|always)|shall (?:act|respond|obey))` +
				`|\b(?:pretend (?:to be|you are|that you are)|act as(?: if you (?:were|are))?|roleplay as) (?:(?:a|an|the) )?` + some + `(?:unrestricted|unfiltered|jailbroken|uncensored|evil|amoral|dan\b|without (?:any )?(?:restrictions|rules|filters))` +
				`|\byou (?:can|will) do anything now\b|\bdo anything now \(|\b(?:enter|enable|activate|switch to|switch into) (?:dan|jailbreak|god|developer) mode (?:and|now|enabled|without|with no)\b`},
		{injectionSecrecy, []string{"not tell", "n't tell", "never tell", "not mention", "n't mention", "never mention", "not inform", "without telling", "without informing", "not reveal", "not let the", "n't let the", "never let the", "not notify", "without asking", "without mentioning", "not disclose", "keep this", "secret from the"}, []string{"user", "human", "developer", "operator"}, 64,
			`\b(?:do not|don't|never|must not|should not) (?:tell|inform|notify|alert) (?:the |your )(?:user|human|operator)s?(?: about (?:this|these|it|that|the (?:instruction|message|note|tool|comment)|any of)| of this| that you (?:are|have|were|did|read|sent)| anything|[.!]? ?$|[.!] )` +
				`|\b(?:do not|don't|never|must not|should not) (?:mention|reveal|disclose|show|explain|report) (?:this|these|it|that you|any of this|the fact|anything)[^.]{0,40} to (?:the |your )(?:user|human|operator)` +
				`|\b(?:do not|don't|never) let (?:the |your )(?:user|human|operator) (?:know|see|find out|notice)\b` +
				`|\bwithout (?:telling|informing|mentioning|notifying|asking)(?: (?:this|it|that))?(?: to)? (?:the|your) (?:user|human|operator)(?: (?:about|first|for (?:permission|confirmation))|[.!]|$)` +
				`|\bkeep (?:this|it) (?:a )?(?:secret|hidden|confidential)? ?from (?:the|your) (?:user|human|operator)`},
		{injectionExfil, []string{"send", "post", "upload", "exfiltrat", "forward", "transmit", "email", "leak", "append", "include", "paste", "encode", "submit"},
			[]string{".env", "id_rsa", "id rsa", "id_ed25519", "id ed25519", ".ssh", ".aws", ".netrc", ".npmrc", "/etc/passwd", "/etc/shadow", "contents of", "content of", "private key", "environment variable", "api key", "credentials", "secrets", "passwords", "system prompt", "conversation", "chat history"}, 64,
			`\b(?:send|post|upload|exfiltrate|forward|transmit|e?mail|leak|append|include|paste|encode|submit) ` + few + `(?:contents? of ` + few + `(?:\.env|[^ ]*id (?:rsa|ed25519)|[^ ]*\.(?:ssh|aws|netrc|npmrc)|/etc/(?:passwd|shadow)|credentials?|secrets?|environment)|\.env(?: file)?|[^ ]*id (?:rsa|ed25519)|~/\.(?:ssh|aws|netrc|npmrc)[^ ]*|/etc/(?:passwd|shadow))[^.]{0,40} (?:to|as|in|at|into|via) (?:https?:|the |this |my |a |[^ ]+@|[^ ]+\.[a-z]{2})` +
				`|\b(?:send|post|upload|exfiltrate|forward|transmit|e?mail|leak|submit) ` + some + `(?:your|the user's|all(?: of)?(?: the| your)?|any|their|every|our) ` + some + `(?:api keys?|credentials|secrets|passwords|tokens|environment variables?|env vars|ssh keys?|private keys?|conversation(?: history)?|chat history|system prompt)\b[^.]{0,40}? to (?:https?:|the following|this (?:url|address|endpoint|server|webhook|site)|[^ ]+@[^ ]+|[^ ]+\.(?:com|net|org|io|dev|example)|my |our (?:server|webhook|endpoint))` +
				`|\b(?:append|include|encode|add|put|embed) [^.]{0,40}(?:conversation|chat history|secrets?|api keys?|credentials?|password)[^.]{0,40}(?:query (?:string|parameter)|image url|url of the image|the url of (?:an|the) image)`},
		{injectionExfil, []string{"reveal", "print", "repeat", "output", "show me", "display", "tell me", "leak"}, []string{"system prompt", "instructions", "initial prompt"}, 48,
			`\b(?:reveal|print|repeat|output|show me|display|tell me|leak) ` + some + `(?:your|the entire|the full|all your|all of your) ` + some + `(?:system prompt|(?:hidden|initial|secret|original|system) (?:instructions|prompt))\b`},
		{injectionExfil, []string{"read", "cat ", "open", "access"}, []string{".ssh", "id_rsa", "id rsa", ".env", ".aws", ".netrc", "/etc/passwd", "mcp.json"}, 48,
			`\b(?:read|cat|open|access) ` + few + `(?:~/|/)?[^ ]*(?:\.ssh/|id rsa|\.env\b|\.aws/|\.netrc|/etc/passwd|mcp\.json)[^ ]* .{0,60}\b(?:pass|send|include|provide|put|post|return|base64|encode|append|curl)\b.{0,60}\b(?:contents?|as|to|in)\b`},
		{injectionAddress, []string{"if you are a", "if you're a", "attention", "note to", "note for", "message for", "message to", "instructions for", "instruction for", "instructions to", "reading this", "dear ", "important"}, []string{" ai ", " ai-", " ai:", " ai,", " llm", "language model", "claude", "chatgpt", "copilot", "codex", "gemini", " gpt", "agent", "assistant"}, 40,
			`\bif you(?: are|'re) (?:a |an |the )` + some + ai + `(?: (?:agent|assistant|model|bot|system|tool|reviewer))?[ ,.:](?:reading|processing|summari[sz]ing|reviewing|looking|that|you (?:must|should|have)|please|ignore|then|do |stop|run)` +
				`|\b(?:attention|important|urgent|critical)[:!]? ?(?:note |notice |message |instructions? )?(?:to |for )?(?:all |any |the |every )?` + ai + `(?: (?:agents?|assistants?|models?|bots?|reviewers?|systems?))+ ?[:!.-]` +
				`|\b(?:note|message|instructions?) (?:to|for) (?:all |any |the |every )` + ai + `(?: (?:agents?|assistants?|models?|bots?|reviewers?))* ?[:!-]` +
				`|\bdear ` + ai + `(?: (?:agent|assistant|model|reviewer))?\b ?[:!,]?`},
		{injectionAddress, []string{"<!--", "c!--", ";!--"}, []string{"ai agent", "ai assistant", " llm", "claude", "chatgpt", "copilot", "codex", "language model", "ai model", "ai:", "agent:", "assistant:", "coding agent"}, 120,
			`!--[^>]{0,120}?\b(?:` + ai + `|agents?|assistants?)(?: (?:agents?|assistants?|models?|reviewers?|users?|tools?))?[ :,-]{1,3}[^>]{0,40}?\b(?:must|please|ignore|run|execute|do not|should (?:also|now|run|add|include|always)|always|your task|before (?:you|answering|responding)|instead|fetch|download|install|approve)\b`},
	}
}
