package manifest

import (
	"io/fs"

	"bottle/internal/bottle"
)

// The kinds of manifests, as KindOf, Validate, ValidateBytes and Schema know them.
const (
	KindBottle = "bottle"
	KindAgent  = "agent"
)

// Where an entry of a list comes from.
const (
	WhereHome = "home"
	WhereRepo = "repo"
)

// Tree is where manifests are read from. The zero Tree holds none.
type Tree struct {
	Home fs.FS // the home folder (BOTTLE_HOME), holding bottles/ and agents/
	Repo fs.FS // .bot-bottle in the operator's current folder; may be nil

	HomeDir  string // absolute path of Home, for messages and rules
	RepoDir  string // absolute path of Repo
	UserHome string // the operator's $HOME, for ~/ in paths; messages abbreviate it to ~

	// The same two folders without symbolic links; empty: not known, or the same.
	RealHomeDir, RealUserHome string
	// Linked are the real paths of what links in these two folders lead to: keys,
	// bottles or agents that are kept elsewhere. No bottle is shown them.
	Linked []string

	Skills fs.FS // ~/.claude/skills; nil when there is no such folder

	// OldFolder says that the caller saw a ~/.claude-bottle: a problem with a recipe.
	OldFolder bool

	// Check, when set, is called for every home manifest before it is read, with
	// its display path and its Lstat result: the place for checks of the owner.
	Check func(path string, fi fs.FileInfo) error
}

// Entry is one manifest in a list.
type Entry struct {
	Name        bottle.Name     `json:"name"`
	File        string          `json:"file"`
	Where       string          `json:"where"`            // WhereHome or WhereRepo
	Bottle      bottle.Name     `json:"bottle,omitempty"` // agents: the bottle it names
	Description string          `json:"description,omitempty"`
	Problems    bottle.Problems `json:"problems,omitempty"` // of this file alone
}
