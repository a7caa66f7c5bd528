package bottle

// Version is the one version of the three programs. They refuse each other
// when it differs.
const Version = "0.1.0"
