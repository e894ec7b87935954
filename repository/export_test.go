package repository

// CopiedColumns are the columns that Copy carries over, by their tables.
func CopiedColumns() (map[string][]string, error) {
	tables, err := copiedTables()
	columns := map[string][]string{}
	for _, table := range tables {
		columns[table.Table] = table.DBNames
	}
	return columns, err
}

// CopiedAtOnce is how many rows Copy reads at once.
const CopiedAtOnce = copiedAtOnce
