"""One phase from start to saved model. The trainers are TRL's."""
