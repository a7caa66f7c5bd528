package gitgate

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"bottle/internal/gitgate/pktline"
	"bottle/internal/gitgate/upstream"
)

// certVersion is the first line of every push certificate.
const certVersion = "certificate version 0.1\n"

var errCertificate = errors.New("read the push certificate: it can be read in more than one way, or is not as git push --signed makes it")

// certificate takes what git push --signed sends in place of commands
// (gitprotocol-pack(5), "Push Certificate"). Upstream reads the commands out of it anew,
// so it must leave no doubt about which they are. Only what git itself writes is taken:
// the lines of a head, each by its name, an empty line, commands, one signature.
func (p *push) certificate() error {
	if p.r.ssh() {
		return errors.New("the git gate takes no signed push (git push --signed) to a repository that it reaches by ssh: sign commits and tags instead")
	}
	const first, head, commands, signature = 0, 1, 2, 3
	part := first
	for {
		line, kind, err := p.lines.Next()
		switch text := string(line); {
		case err != nil:
			return fmt.Errorf("read the push certificate: %w", err)
		case kind != pktline.Data || !strings.HasSuffix(text, "\n") || strings.Count(text, "\n") != 1 || strings.ContainsAny(text, "\x00\r"):
			return errors.New("read the push certificate: it is not made of lines")
		case text == "push-cert-end\n" && part == signature:
			return p.certified()
		case len(p.asked.Cert)+len(text) > maxCert:
			return fmt.Errorf("a push certificate may have %d bytes", maxCert)
		case part == first && text == certVersion:
			part = head
		case part == head && text == "\n":
			part = commands
		case part == head && p.certHead(text):
		case part == commands && beginsSignature(text):
			part = signature
		case part == commands:
			if err := p.command(strings.TrimSuffix(text, "\n")); err != nil {
				return err
			}
		case part == signature && !strings.HasPrefix(text, "-----BEGIN "):
		default:
			return errCertificate
		}
		p.asked.Cert = append(p.asked.Cert, line...)
	}
}

// certHead takes a line of the head; false: git writes none such.
func (p *push) certHead(text string) bool {
	name, value, ok := strings.Cut(strings.TrimSuffix(text, "\n"), " ")
	switch {
	case ok && name == "push-option":
		p.signed = append(p.signed, value)
		return len(p.signed) <= maxOptions
	default:
		return ok && (name == "pusher" || name == "pushee" || name == "nonce")
	}
}

// beginsSignature reports whether git takes a line for the beginning of a signature
// (gpg-interface.c): it ends the commands at the last such line, and at no other.
func beginsSignature(line string) bool {
	kind, ok := strings.CutPrefix(line, "-----BEGIN ")
	return ok && slices.ContainsFunc([]string{"PGP SIGNATURE-----", "PGP MESSAGE-----", "SIGNED MESSAGE-----", "SSH SIGNATURE-----"},
		func(known string) bool { return strings.HasPrefix(kind, known) })
}

// certified reads the commands once more, now as upstream's git does
// (queue_commands_from_cert): behind the first empty line, up to the last line that
// begins a signature. They must be those that are judged.
func (p *push) certified() error {
	_, body, ok := strings.Cut(string(p.asked.Cert), "\n\n")
	end, at := -1, 0
	for line := range strings.Lines(body) {
		if beginsSignature(line) {
			end = at
		}
		at += len(line)
	}
	if !ok || end <= 0 || len(p.asked.Commands) == 0 {
		return errCertificate
	}
	var again []upstream.Command
	for line := range strings.Lines(body[:end]) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
		if len(f) != 3 {
			return errCertificate
		}
		again = append(again, upstream.Command{Old: f[0], New: f[1], Ref: f[2]})
	}
	if !slices.Equal(again, p.asked.Commands) {
		return errCertificate
	}
	return nil
}
