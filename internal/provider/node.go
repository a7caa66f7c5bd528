package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
)

// node finds the node that runs the script at real: the one beside the CLI
// (nvm: each version has its own), the one of the prefix that the package is in,
// else the first on PATH.
func (p *preparation) node(h host, dir, real string) (string, error) {
	candidates := []string{path.Join(dir, "node")}
	if prefix, _, ok := strings.Cut(real, "/lib/node_modules/"); ok {
		candidates = append(candidates, path.Join(prefix, "bin", "node"))
	}
	for _, d := range p.Path {
		if path.IsAbs(d) {
			candidates = append(candidates, path.Join(d, "node"))
		}
	}
	for _, candidate := range candidates {
		node, err := h.program(candidate)
		if err != nil {
			continue
		}
		if isShim(node) {
			if node, err = h.voltaDefaultNode(path.Dir(candidate)); err != nil {
				continue
			}
		}
		return node, nil
	}
	return "", fmt.Errorf("%s needs node, which was not found on your PATH", real)
}

// mountNode mounts node's own prefix, so that npm and npx beside it work too; or
// the program alone where the prefix holds other things.
func (p *preparation) mountNode(node string) error {
	if inSystem(node) {
		return nil
	}
	if prefix, ok := homebrew(node); ok {
		return p.mountNarrow(prefix)
	}
	if within(node, "/nix/store") {
		p.mount("/nix/store")
		return nil
	}
	prefix := path.Dir(path.Dir(node))
	if path.Base(path.Dir(node)) == "bin" && p.narrow(prefix) {
		p.mount(prefix)
		return nil
	}
	p.mount(node)
	return nil
}

func isShim(real string) bool {
	base := path.Base(real)
	return base == "volta-shim" || base == "shim"
}

// settleVolta goes from volta's shim to the installed package. volta keeps, for
// every program, a small JSON file that names its package and its node.
func (p *preparation) settleVolta(h host, c cli, dir string) (tool, error) {
	home, err := h.voltaHome(dir)
	if err != nil {
		return tool{}, err
	}
	var bin struct {
		Package  string `json:"package"`
		Platform struct {
			Node json.RawMessage `json:"node"`
		} `json:"platform"`
	}
	if err := h.readJSON(path.Join(home, "tools/user/bins", c.Name+".json"), &bin); err != nil {
		return tool{}, fmt.Errorf("volta does not know %s: %w", c.Name, err)
	}
	if bin.Package != c.Package {
		return tool{}, fmt.Errorf("volta's %s comes from the package %s, not from %s", c.Name, quote(bin.Package), c.Package)
	}
	real, err := h.program(path.Join(home, "tools/image/packages", c.Package, "bin", c.Name))
	if err != nil {
		return tool{}, err
	}
	head, err := h.head(real)
	if err != nil {
		return tool{}, err
	}
	if strings.HasPrefix(string(head), "\x7fELF") {
		return p.settleNative(h, c, real)
	}
	node, err := h.voltaNode(home, bin.Platform.Node)
	if err != nil {
		return tool{}, err
	}
	return p.runScript(h, c, node, real)
}

// voltaHome is the folder above the one that holds the shims.
func (h host) voltaHome(dir string) (string, error) {
	real, err := h.resolve(dir)
	if err != nil {
		return "", err
	}
	return path.Dir(real), nil
}

// voltaDefaultNode is the node that volta runs where no project pins one.
func (h host) voltaDefaultNode(dir string) (string, error) {
	home, err := h.voltaHome(dir)
	if err != nil {
		return "", err
	}
	var platform struct {
		Node json.RawMessage `json:"node"`
	}
	if err := h.readJSON(path.Join(home, "tools/user/platform.json"), &platform); err != nil {
		return "", err
	}
	return h.voltaNode(home, platform.Node)
}

// voltaNode finds the image of one node. Its version is a string or, in older
// files and in platform.json, an object with the key runtime.
func (h host) voltaNode(home string, raw json.RawMessage) (string, error) {
	var version string
	if json.Unmarshal(raw, &version) != nil {
		var object struct {
			Runtime string `json:"runtime"`
		}
		if err := json.Unmarshal(raw, &object); err != nil {
			return "", errors.New("volta names no node")
		}
		version = object.Runtime
	}
	if version == "" || strings.ContainsAny(version, "/\\\x00") || strings.HasPrefix(version, ".") {
		return "", fmt.Errorf("volta names no node: %s", quote(version))
	}
	return h.program(path.Join(home, "tools/image/node", version, "bin", "node"))
}

// readJSON reads a small file of the host.
func (h host) readJSON(name string, into any) error {
	real, err := h.resolve(name)
	if err != nil {
		return err
	}
	text, err := h.head(real)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}
