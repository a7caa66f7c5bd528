package hostexec

// Places are the folders in which systems keep programs, absolute, for who has no PATH.
func Places() []string {
	return []string{"/usr/bin", "/usr/local/bin", "/bin", "/run/current-system/sw/bin", "/opt/homebrew/bin"}
}
