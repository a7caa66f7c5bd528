package provider

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"bottle/internal/plan"
)

// What one bottle's skills may weigh. Files cross a pipe into the bottle's
// memory, so an endless skill would be an endless start.
const (
	maxSkillFiles = 2000
	maxSkillBytes = 16 << 20
)

type skillBudget struct{ files, bytes int }

// skills copies the skills that the agent names below dir.
func (p *preparation) skills(dir string) {
	budget := &skillBudget{files: maxSkillFiles, bytes: maxSkillBytes}
	for _, name := range p.Agent.Skills {
		if !skillName(name) {
			p.problem("the skill "+quote(name)+" is not a kebab-case name", "a skill is a folder under ~/.claude/skills, such as init-prd")
			continue
		}
		fsys, ok := p.Skills[name]
		if !ok || fsys == nil {
			p.problem("the skill "+quote(name)+" was not found", "make the folder ~/.claude/skills/"+name+" or remove it from skills")
			continue
		}
		if err := p.skill(fsys, path.Join(dir, name), budget); err != nil {
			p.problem("can't copy the skill "+quote(name)+": "+err.Error(), "a skill holds plain files and folders only")
		}
	}
}

// skill copies one skill's folder. A symlink is refused: it could name any file
// of the operator's.
func (p *preparation) skill(fsys fs.FS, dir string, budget *skillBudget) error {
	files := 0
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return nil
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s is not a plain file", quote(name))
		}
		content, mode, err := readSkillFile(fsys, name, budget)
		if err != nil {
			return err
		}
		files++
		p.Files = append(p.Files, plan.File{Path: path.Join(dir, name), Mode: mode, Content: content, Agent: true})
		return nil
	})
	if err == nil && files == 0 {
		return errors.New("it is empty")
	}
	return err
}

func readSkillFile(fsys fs.FS, name string, budget *skillBudget) ([]byte, uint32, error) {
	if budget.files--; budget.files < 0 {
		return nil, 0, fmt.Errorf("the skills have more than %d files", maxSkillFiles)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	content, err := io.ReadAll(io.LimitReader(f, int64(budget.bytes)+1))
	if err != nil {
		return nil, 0, err
	}
	if budget.bytes -= len(content); budget.bytes < 0 {
		return nil, 0, fmt.Errorf("the skills are larger than %d MiB", maxSkillBytes>>20)
	}
	mode := uint32(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	return content, mode, nil
}

// skillName reports whether s is kebab-case: it becomes part of a path.
func skillName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case c == '-' && i > 0 && i < len(s)-1 && s[i-1] != '-':
		default:
			return false
		}
	}
	return true
}
