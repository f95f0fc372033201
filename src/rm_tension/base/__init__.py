"""The ground floor: what every stage may use, and what decides no result by itself."""
