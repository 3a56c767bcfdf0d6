package hostile

import "time"

func init() {
	for {
		time.Sleep(time.Hour)
	}
}
