package supervise

import (
	"bottle/internal/bottle"
	"bottle/internal/plan"
)

const maxWhy = bottle.MaxWhy // characters; the queue counts bytes, and says so

// welcome is what the server's own address shows to whoever looks.
const welcome = "This is the supervise server of this bottle: an agent asks its operator for more here.\n" +
	"It speaks the Model Context Protocol at http://" + plan.SuperviseHost + plan.SupervisePath + " (Streamable HTTP).\n"

// What a model reads. Each text says when to call, what happens, and what not to do.
const (
	// Codex shows the first 250 characters.
	instructions = "A sandbox holds you: its gateway refuses requests that no policy lists (\"error\":\"denied\"). Do not work around it, ask here: egress-block for a host, pipelock-block for refused content; check-egress tells why, proposal-status what became of it. " +
		"list-egress-routes shows what is allowed. Nothing else leads out. Your operator decides; some take a minute, so go on with other work while a proposal is pending."

	egressText = "Ask your operator to let you reach a host that the gateway refuses (reasons such as host_not_listed, path_not_listed, method_not_listed). " +
		"Ask once, for the narrowest host, methods and path prefixes that do the work. The call waits a while for a decision (wait_seconds). " +
		"\"approved\": it is in force already, make your request. \"pending\": go on with other work and call proposal-status later."

	contentText = "Ask your operator to let a request pass that the gateway refused for what it carries (reason secret_found: a value that looks like a secret), " +
		"or a single URL that no route lists. Give the URL that failed. First make sure that the value is meant to go to that host: " +
		"if it is a real secret that got there by mistake, take it out of the request instead of asking."

	capabilityText = "Ask your operator for programs that are not here, by the packages that hold them: deb:NAME or npm:NAME@VERSION. First look whether the program is there already (command -v). " +
		"The operator fetches them with all that they need; you get the programs while you work, at the end of PATH. They are unpacked only: no install script runs, nothing is started, and nothing of the system changes. " +
		"Name the few that do the work. " +
		"Where your system is an image that a recipe makes (a container or a micro-VM) you may ask for lines behind that recipe instead (dockerfile): they change the system, and come when the operator resumes the bottle. The call waits up to half a minute; fetching may take longer: then go on with other work and call proposal-status later."

	pushText = "Read what you may push to one of the bottle's repositories, before you commit or when a push was refused. Nothing is pushed by it."

	routesText = "List what this bottle may reach now: hosts, ports, methods, path prefixes, and the names of the credentials that the gateway puts in. " +
		"Never send a credential yourself where one is named here."

	checkText = "Ask the policy whether a request would be let through, and why not. No request is made and nobody is asked."

	statusText = "Read what became of a proposal: pending, approved, modified, rejected or expired, with the operator's note."
)
